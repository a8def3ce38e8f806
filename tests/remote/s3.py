# SPDX-License-Identifier: Apache-2.0
"""A bucket for tests: moto's S3 behind a check of every signature.

moto believes any signature, so each request is signed again here by botocore,
with the headers that the client says it signed, and must come out the same.
"""
import hmac
import json
import os
import re
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import (DomainDispatcherApplication,
                                           create_backend_app)
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-west-1"
KEY, SECRET = "AKIDEXAMPLE", "secret/EXAMPLE+key"
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/"
                    r"aws4_request, *SignedHeaders=([^,]+), *Signature=(\w+)")


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_, **__):
        pass


class S3:
    """`keys`: {access key: (secret, session token or None)}; `odd(environ)`
    may give (status, body, headers) to answer instead."""

    def __init__(self):
        self.keys = {KEY: (SECRET, None)}
        self.public = False
        self.odd = lambda environ: None
        self.seen = []  # (method, path, query, access key or None)
        self.app = DomainDispatcherApplication(create_backend_app)
        self.server = make_server("127.0.0.1", 0, self.answer, threaded=True,
                                  request_handler=Quiet)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()
        self.client = boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION,
            aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def upload(self, folder, bucket, prefix):
        try:
            self.client.create_bucket(
                Bucket=bucket,
                CreateBucketConfiguration={"LocationConstraint": REGION})
        except self.client.exceptions.BucketAlreadyOwnedByYou:
            pass
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                name = str(path.relative_to(folder))
                # Who may read it is for the check here to say.
                self.client.put_object(Bucket=bucket, Key=prefix + name,
                                       ACL="public-read",
                                       Body=path.read_bytes())

    def answer(self, environ, start):
        refusal = self.odd(environ) or self.check(environ)
        if not refusal:
            return self.app(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, body, headers = refusal
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        start(f"{status} Refused", [("Content-Length", str(len(body))),
                                    *headers])
        return [body]

    def check(self, environ):
        headers = {name[5:].replace("_", "-").lower(): value
                   for name, value in environ.items()
                   if name.startswith("HTTP_")}
        url = urlsplit(environ["REQUEST_URI"])
        given = SIGNED.fullmatch(headers.get("authorization", ""))
        self.seen.append((environ["REQUEST_METHOD"], url.path, url.query,
                          given and given[1]))
        if not given:
            return None if self.public else error(403, "AccessDenied")
        key, _, region, names, signature = given.groups()
        if key not in self.keys:
            return error(403, "InvalidAccessKeyId")
        if region != REGION:
            return error(400, "AuthorizationHeaderMalformed",
                         f"<Region>{REGION}</Region>")
        secret, token = self.keys[key]
        if token != headers.get("x-amz-security-token"):
            return error(400, "InvalidToken")
        names = names.split(";")
        must = {"host"} | {n for n in headers if n.startswith("x-amz-")}
        if not must <= set(names):
            return error(403, "AccessDenied", f"<Unsigned>{must}</Unsigned>")
        if self.signature(environ, headers, names, region, secret) != (
                signature):
            return error(403, "SignatureDoesNotMatch")
        return None

    def signature(self, environ, headers, names, region, secret):
        length = environ.get("CONTENT_LENGTH")
        have = {**headers, "content-type": environ.get("CONTENT_TYPE", ""),
                "content-length": length or ""}
        request = AWSRequest(environ["REQUEST_METHOD"],
                             self.url + environ["REQUEST_URI"],
                             {name: have[name] for name in names})
        request.context["timestamp"] = headers["x-amz-date"]
        signer = S3SigV4Auth(Credentials("x", secret), "s3", region)
        # The names are those of the client, also where botocore would not
        # sign them.
        canonical = signer.canonical_request(request)
        return signer.signature(
            signer.string_to_sign(request, canonical), request)


def error(status, code, more=""):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>"
    return status, body.encode(), [("Content-Type", "application/xml")]


class FakeInstance:
    """FAKE: what a virtual machine's metadata endpoint answers (IMDSv2), and
    a container's."""

    def __init__(self):
        fake = self
        self.keys, self.life = None, timedelta(hours=6)
        self.asked = []
        self.wrong = []  # questions without the session's token

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_PUT(self):
                if (self.path != "/latest/api/token" or not self.headers.get(
                        "X-aws-ec2-metadata-token-ttl-seconds")):
                    fake.wrong.append(self.path)
                self.say("a-session")

            def do_GET(self):
                fake.asked.append(self.path)
                role = "/latest/meta-data/iam/security-credentials/"
                if self.path == "/container":
                    if self.headers.get("Authorization") != "let me in":
                        fake.wrong.append(self.path)
                elif (self.headers.get("X-aws-ec2-metadata-token")
                        != "a-session"):
                    fake.wrong.append(self.path)
                    return self.send_error(401)
                if self.path == "/latest/meta-data/placement/region":
                    return self.say(REGION)
                if self.path == role:
                    return self.say("a-role")
                if self.path in (role + "a-role", "/container"):
                    return self.say(fake.document())
                return self.send_error(404)

            def say(self, text):
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.thread.start()

    def document(self):
        key, secret, token = self.keys()
        ends = datetime.now(timezone.utc) + self.life
        return json.dumps({"Code": "Success", "AccessKeyId": key,
                           "SecretAccessKey": secret, "Token": token,
                           "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")})

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def environment(folder, s3=None, keys=True, **more):
    """Nothing of this machine's own; what is unset is empty."""
    env = {name: "" for name in os.environ if name.startswith("AWS_")}
    env.update(HOME=str(folder), AWS_EC2_METADATA_DISABLED="true",
               AWS_REGION=REGION)
    if s3:
        env["AWS_ENDPOINT_URL"] = s3.url
    if keys:
        env.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    env.update(more)
    return env
