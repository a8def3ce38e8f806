/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options: every key, whose it is, and what --help says of it.
 */
#include <string.h>

#include "tools/options.h"

#define ROW(commands, key, kind, field, arg, help)                             \
	{                                                                      \
		key, WFS_OPTION_##kind, WFS_FOR_##commands,                    \
			offsetof(struct wfs_options, field), arg, help         \
	}

const struct wfs_option wfs_option_table[] = {
	ROW(BOTH, "models", PATH, models_dir, "DIR",
	    "Serve every checkpoint that lies in DIR"),
	ROW(BOTH, "model", MODEL, models, "NAME=DIR|URL[#sha256:ROOT]",
	    "Serve the checkpoint DIR, or a mount a seed's or a web server's, "
	    "as NAME; with a ROOT of weightfs digest those bytes alone (may "
	    "be repeated; a name may have a place of each kind)"),
	ROW(MOUNT, "prefer", PREFER, prefer, "LIST",
	    "Of a model with several places take bytes first where LIST says, "
	    "such as disk,seed (default: seed,disk,origin)"),
	ROW(MOUNT, "seed", SEED, seeds, "URL",
	    "Serve what the seed at URL lists, fetched as it is read (may be "
	    "repeated)"),
	ROW(MOUNT, "seed_token", PATH, seed_token, "FILE",
	    "Show seeds the token in FILE"),
	ROW(MOUNT, "seed_ca", PATH, seed_ca, "FILE",
	    "Know seeds by the certificates in FILE (default: the system's)"),
	ROW(MOUNT, "seed_cert", PATH, seed_cert, "FILE",
	    "Show seeds the certificate in FILE"),
	ROW(MOUNT, "seed_key", PATH, seed_key, "FILE", "The key of seed_cert"),
	ROW(MOUNT, "trust_key", PATH, trust_key, "FILE",
	    "Check models that a public key in FILE signed (weightfs digest "
	    "--key)"),
	ROW(MOUNT, "origin_token", PATH, origin_token, "FILE",
	    "Show web servers of models the token in FILE"),
	ROW(MOUNT, "s3_endpoint", WORD, s3_endpoint, "URL",
	    "Buckets are at URL (default: AWS_ENDPOINT_URL_S3, the profile's, "
	    "Amazon)"),
	ROW(MOUNT, "s3_region", WORD, s3_region, "NAME",
	    "Buckets are in that region (default: AWS_REGION, the profile's)"),
	ROW(MOUNT, "s3_profile", WORD, s3_profile, "NAME",
	    "Sign with the keys of that profile (default: AWS_PROFILE)"),
	ROW(MOUNT, "s3_credentials", PATH, s3_credentials, "FILE",
	    "Profiles with keys (default: AWS_SHARED_CREDENTIALS_FILE, "
	    "~/.aws/credentials)"),
	ROW(MOUNT, "seed_wait", SECONDS, seed_wait_ns, "SECONDS",
	    "Be mounted when seeds and web servers have answered, or after "
	    "that long (default: 5, and not for those that fail)"),
	ROW(MOUNT, "seed_deadline", SECONDS, seed_deadline_ns, "SECONDS",
	    "A read that no seed can serve fails after that long (default: "
	    "60)"),
	ROW(MOUNT, "forget_after", SECONDS, forget_after_ns, "SECONDS",
	    "List a model no more when none of its seeds could be reached for "
	    "that long; 0: never (default: 86400)"),
	ROW(MOUNT, "seed_connections", COUNT, seed_connections, "N",
	    "Connections to each seed (default: 4)"),
	ROW(MOUNT, "layout", LAYOUT, layouts, "NAME@LAYOUT",
	    "List the model NAME resharded, such as llama@tp4 (may be "
	    "repeated; any other appears when it is looked up)"),
	ROW(MOUNT, "plans", PATH, plans_dir, "DIR",
	    "Use the plans in DIR before the built-in ones"),
	ROW(MOUNT, "engine", ENGINE, engine, "NAME[-VERSION]",
	    "The engine that layouts are made for (default: vllm, the newest "
	    "known)"),
	ROW(MOUNT, "part_size", SIZE, part_size, "SIZE",
	    "Cut the files of layouts at that size; 0: one a rank (default: "
	    "512M)"),
	ROW(BOTH, "config", PATH, config, "FILE",
	    "Read options from FILE (section [mount] or [seed])"),
	ROW(MOUNT, "arena_size", SIZE, arena_size, "SIZE",
	    "Memory for tensors (default: a quarter of the machine's)"),
	ROW(MOUNT, "chunk_cache", SIZE, chunk_cache, "SIZE",
	    "Memory for bytes that several ranks want (default: an eighth of "
	    "the arena's, at most 1G)"),
	ROW(MOUNT, "ranks", RANKS, ranks, "N[-M]",
	    "The ranks of layouts that this machine reads, such as 0-3 (may "
	    "be repeated; default: all)"),
	ROW(MOUNT, "passthrough", WANT, passthrough, "auto|on|off",
	    "Let the kernel read without us; on: refuse to start without "
	    "(default: auto)"),
	ROW(MOUNT, "open_wait", SECONDS, open_wait_ns, "SECONDS",
	    "An open waits for its bytes when that takes no longer "
	    "(default: 2)"),
	ROW(MOUNT, "prefetch", SIZE, prefetch, "SIZE",
	    "Bring that much into memory ahead of a reader (default: 256M)"),
	ROW(MOUNT, "switch_after", SECONDS, switch_after_ns, "SECONDS",
	    "A changed checkpoint takes over after that long without opens "
	    "(default: 60)"),
	ROW(BOTH, "rescan", SECONDS, rescan_ns, "SECONDS",
	    "Look for changed checkpoints that often (default: 2)"),
	ROW(BOTH, "follow_links", SWITCH, follow_links, NULL,
	    "Follow links that leave a checkpoint"),
	ROW(MOUNT, "allow_other", SWITCH, allow_other, NULL,
	    "Other users may read too (default for a mount by root)"),
	ROW(MOUNT, "nonempty", SWITCH, nonempty, NULL,
	    "Mount over a directory that is not empty"),
	ROW(MOUNT, "digests", SWITCH, digests, NULL,
	    "Hash tensors as they are brought into memory (default: on)"),
	ROW(MOUNT, "hydrators", COUNT, hydrators, "N",
	    "Threads that bring tensors into memory (default: one a CPU)"),
	ROW(MOUNT, "readers", COUNT, readers, "N",
	    "Threads that answer reads, at most (default: 16, with seeds 64)"),
	ROW(MOUNT, "readahead", SIZE, readahead, "SIZE",
	    "Readahead of the mount where we answer reads (default: 4M)"),
	ROW(MOUNT, "trust", TRUST, trust, "none|seed|origin|signed",
	    "The least trusted bytes that are served (default: seed; local "
	    "files are origin)"),
	ROW(SEED, "listen", LISTEN, listen, "ADDR:PORT",
	    "Listen there (default: 127.0.0.1:7420)"),
	ROW(MOUNT, "serve", LISTEN, listen, "ADDR:PORT",
	    "Offer to other nodes, there, what this mount has"),
	ROW(BOTH, "token_file", PATH, token_file, "FILE",
	    "Whoever asks must bring the token in FILE"),
	ROW(BOTH, "tls_cert", PATH, tls_cert, "FILE",
	    "Serve over TLS with this certificate (PEM, with its chain)"),
	ROW(BOTH, "tls_key", PATH, tls_key, "FILE",
	    "The key of the certificate (PEM)"),
	ROW(BOTH, "tls_client_ca", PATH, tls_client_ca, "FILE",
	    "Whoever asks must bring a certificate of these authorities (PEM)"),
	ROW(BOTH, "insecure", SWITCH, insecure, NULL,
	    "Serve other machines also without a token"),
	ROW(BOTH, "rate", SIZE, rate, "SIZE",
	    "Send at most that much a second, to all together (default: 0, "
	    "no cap)"),
	ROW(BOTH, "connections", COUNT, connections, "N",
	    "Answer at most N connections (default: 256)"),
	ROW(BOTH, "connections_per_client", COUNT, per_client, "N",
	    "Of these at most N from one address (default: 64)"),
	ROW(BOTH, "client_timeout", SECONDS, client_timeout_ns, "SECONDS",
	    "Cut off whoever takes that long to ask (default: 20) or to take "
	    "anything (default: 30)"),
	ROW(BOTH, "same_host", SWITCH, same_host, NULL,
	    "Processes of this host and user lend each other files instead of "
	    "sending bytes (default: on)"),
	ROW(MOUNT, "gpu", WANT, gpu, "auto|on|off",
	    "Fill and lend the memory of GPUs: where there is a driver for "
	    "any, always or not start, never (default: auto)"),
	ROW(MOUNT, "rdma", SWITCH, rdma, NULL,
	    "Read the memory of seeds over RDMA, where both have a device "
	    "(default: on)"),
	ROW(BOTH, "rdma_memory", SIZE, rdma_memory, "SIZE",
	    "Offer files over RDMA, from so much memory that is locked "
	    "(default: 0, no RDMA)"),
	ROW(BOTH, "digest_cache", PATH, digest_cache, "DIR",
	    "Keep digests of files in DIR (default: /var/cache/weightfs/digests"
	    ", or in ~/.cache)"),
	ROW(MOUNT, "order_cache", PATH, order_cache, "DIR",
	    "Keep the orders in which models are loaded in DIR (default: "
	    "/var/cache/weightfs/orders, or in ~/.cache)"),
	ROW(BOTH, "log_level", LEVEL, log_level, "error|warn|info|debug",
	    "The least important lines that are logged (default: info)"),
};

const size_t wfs_option_count =
	sizeof(wfs_option_table) / sizeof(wfs_option_table[0]);

const struct wfs_option *wfs_option_find(const char *key)
{
	for (size_t i = 0; i < wfs_option_count; i++) {
		if (strcmp(wfs_option_table[i].key, key) == 0)
			return &wfs_option_table[i];
	}
	return NULL;
}
