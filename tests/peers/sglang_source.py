# SPDX-License-Identifier: Apache-2.0
"""Is the SGLang that tests pretend the one that there is?

usage: sglang_source.py WORKDIR

SGLang wants a GPU to be imported, so its source is read: everything that our
plugin hooks or calls must be there, with the parameters that the pretended one
has, and the hooks are put in place by SGLang's own registry.  The wheel is
fetched once, 40 MB.  Exit status 1 if something differs.
"""
import ast
import glob
import os
import subprocess
import sys
import types
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../client"),
                os.path.join(HERE, "../../tools/python")]
import fake_sglang  # noqa: E402

REGISTRY = "sglang.srt.plugins.hook_registry"
# What the plugin reads of objects, and imports from elsewhere than it is.
ATTRIBUTES = {
    ("sglang.srt.model_executor.model_runner", "ModelRunner"):
        {"model", "model_config", "startup_weight_load"},
    ("sglang.srt.model_executor.model_runner_components.weight_updater",
     "WeightUpdater"): {"get_model"},
    ("sglang.srt.configs.model_config", "ModelConfig"):
        {"model_path", "revision", "dtype", "quantization"},
    ("sglang.srt.configs.load_config", "LoadConfig"): {"load_format"}}
NAMES = {fake_sglang.LOADER: {"set_default_torch_dtype"},
         "sglang.srt.server_args": {"add_load_format_choices"}}


def wheel(work):
    def found():
        return glob.glob(f"{work}/sglang-{fake_sglang.VERSION}-*.whl")
    if not found():
        print("peers: fetching SGLang's source (40 MB, once)", flush=True)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q",
                        "--disable-pip-version-check", "--no-deps", "--dest",
                        work, f"sglang=={fake_sglang.VERSION}"], check=True)
    return zipfile.ZipFile(found()[0])


class Source:
    """Its modules, parsed when they are asked for."""

    def __init__(self, archive):
        self.archive, self.trees = archive, {}

    def text(self, module):
        return self.archive.read(module.replace(".", "/") + ".py").decode()

    def tree(self, module):
        if module not in self.trees:
            self.trees[module] = ast.parse(self.text(module))
        return self.trees[module]

    def find(self, module, path):
        """A class or function of that name, or None."""
        node = self.tree(module)
        for name in path.split("."):
            node = next((n for n in node.body if
                         getattr(n, "name", None) == name), None)
            if node is None:
                return None
        return node


def parameters(node):
    a = node.args
    return [arg.arg for arg in (*a.posonlyargs, *a.args, a.vararg,
                                *a.kwonlyargs, a.kwarg) if arg]


def attributes(node):
    """Fields of a class, and what its methods put into self."""
    fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
    return fields | {n.attr for n in ast.walk(node) if isinstance(
        n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        and getattr(n.value, "id", None) == "self"}


def differences(source):
    for (module, path), want in fake_sglang.parameters().items():
        node = source.find(module, path)
        got = node and parameters(node)
        if got != want:
            yield f"'{module}.{path}' takes {got}, pretended are {want}"
    for (module, name), want in ATTRIBUTES.items():
        lacks = want - attributes(source.find(module, name))
        if lacks:
            yield f"'{module}.{name}' has no {sorted(lacks)}"
    for module, want in NAMES.items():
        lacks = want - {alias.asname or alias.name for node in
                        ast.walk(source.tree(module)) if isinstance(
                            node, ast.ImportFrom) for alias in node.names}
        if lacks:
            yield f"'{module}' imports no {sorted(lacks)}"


def unhooked(source):
    """Hooks of the plugin that SGLang's own registry could not put in place,
    in modules that are pretended."""
    fake_sglang.install()
    registry = sys.modules[REGISTRY] = types.ModuleType(REGISTRY)
    exec(compile(source.text(REGISTRY), REGISTRY, "exec"), vars(registry))
    os.environ["WEIGHTFS_SERVE"] = "127.0.0.1:0"
    from weightfs import sglang as plugin
    plugin.register()
    hooks = registry.HookRegistry
    hooks.apply_hooks()
    print("  %d hooks by SGLang %s's own registry" % (
        len(hooks._patched), fake_sglang.VERSION))
    return [f"'{target}' could not be hooked"
            for target in hooks._hooks.keys() - hooks._patched]


def main():
    source = Source(wheel(sys.argv[1]))
    wrong = [*differences(source), *unhooked(source)]
    print("\n".join(wrong) or "  sglang: as its plugin's tests pretend it")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
