"""Finds, in the syntax tree of a Python file, what runs code or commands that data may bring."""

import ast

PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle"}
# What is handed to another process by pickle.
WORKERS = {"joblib", "multiprocessing", "distributed", "ray", "concurrent.futures.ProcessPoolExecutor"}
# Full names of calls that are refused whatever they are given.
CALLS = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "runs text",
    "__import__": "imports by name",
    "importlib.import_module": "imports by name",
    "kedro.utils.load_obj": "imports by name",
    "runpy.run_path": "runs text",
    "os.system": "asks a shell",
    "os.popen": "asks a shell",
    "subprocess.getoutput": "asks a shell",
    "joblib.load": "unpickles",
    "pandas.read_pickle": "unpickles",
    "yaml.unsafe_load": "makes objects of YAML",
    "yaml.full_load": "makes objects of YAML",
    "shutil.unpack_archive": "unpacks an archive",
}
METHODS = {"extractall": "unpacks an archive", "to_pickle": "pickles", "read_pickle": "unpickles"}
# Options that may only be false, wherever they stand.
FALSE = {"shell": "asks a shell", "trust_remote_code": "runs code of the hub", "allow_pickle": "unpickles"}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader"}


def findings(text):
    """``(line, fault)`` of each place in a file's text."""
    tree = ast.parse(text)
    names = _names(tree)
    found = [each for node in ast.walk(tree) for each in _faults(node, names)]
    return sorted(set(found))


def _names(tree):
    """What each imported name stands for in full."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def _full(node, names):
    if isinstance(node, ast.Attribute):
        return f"{_full(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _faults(node, names):
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from _import_faults(node)
    elif isinstance(node, ast.FunctionDef) and node.name in ("__reduce__", "__reduce_ex__", "__setstate__"):
        yield node.lineno, "pickles"
    elif isinstance(node, ast.Constant) and node.value == "0.0.0.0":  # noqa: S104
        yield node.lineno, "listens to all"
    elif isinstance(node, ast.Call):
        yield from _call_faults(node, names)


def _import_faults(node):
    module = getattr(node, "module", None)
    full = {f"{module}.{each.name}" if module else each.name for each in node.names}
    for name in full:
        roots = {name, name.partition(".")[0]}
        if roots & PICKLES:
            yield node.lineno, "pickles"
        if roots & WORKERS:
            yield node.lineno, "hands jobs to workers"


def _call_faults(node, names):
    name = _full(node.func, names)
    options = {each.arg: each.value for each in node.keywords}
    if name in CALLS:
        yield node.lineno, CALLS[name]
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        yield node.lineno, METHODS[node.func.attr]
    for option, fault in FALSE.items():
        if option in options and not _is(options[option], value=False):
            yield node.lineno, fault
    if name == "torch.load" and not _is(options.get("weights_only"), value=True):
        yield node.lineno, "unpickles"
    if name in ("yaml.load", "yaml.load_all"):
        loader = options.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if _full(loader, names) not in SAFE_LOADERS:
            yield node.lineno, "makes objects of YAML"


def _is(node, *, value):
    return isinstance(node, ast.Constant) and node.value is value
