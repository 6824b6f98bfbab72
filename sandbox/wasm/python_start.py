# What runs before Bob's program, in its place (spec §9.2.11). Python shows the
# lines of a source file in tracebacks and warnings wherever it finds a file of
# the name that the code was compiled under. So code is compiled under a name
# that no file has, in brackets, as Python itself has it for what is no file.
def start():
    import _imp, builtins, os, sys

    compiler, fix = builtins.compile, _imp._fix_co_filename
    futures = 0x1FE0000  # what a call inherits from the code that it is in

    def hide(name):
        name = os.fsdecode(name)
        return name if name[:1] == "<" and name[-1:] == ">" else f"<{name}>"

    def strip(e):
        if isinstance(e, SyntaxError) and e.text is not None:
            e.text = None
            if len(e.args) > 1 and isinstance(e.args[1], tuple):
                e.args = (e.args[0], e.args[1][:3] + (None,) + e.args[1][4:])

    def compile(source, filename, mode, flags=0, dont_inherit=False, optimize=-1, **more):
        if not dont_inherit:
            flags |= sys._getframe(1).f_code.co_flags & futures
        try:
            return compiler(source, hide(filename), mode, flags, True, optimize, **more)
        except SyntaxError as e:
            strip(e)
            raise

    def excepthook(kind, e, trace):
        seen, todo = set(), [e]
        while todo:
            x = todo.pop()
            if isinstance(x, BaseException) and id(x) not in seen:
                seen.add(id(x))
                strip(x)
                todo += [x.__cause__, x.__context__, *getattr(x, "exceptions", ())]
        while trace and trace.tb_frame.f_code in ours:
            trace = trace.tb_next
        sys.__excepthook__(kind, e.with_traceback(trace), trace)

    ours = {sys._getframe(1).f_code, start.__code__, compile.__code__}
    builtins.compile = compile
    _imp._fix_co_filename = lambda code, path: fix(code, hide(path))
    sys.excepthook = excepthook

    how, what, *rest = sys.argv[1:]
    sys.argv = [what if how == "file" else how, *rest]
    main = sys.modules["__main__"].__dict__
    del main["start"]
    if how == "-c":
        exec(compile(what, "<string>", "exec", 0, True), main)
        return
    whole = how == "-m"
    if not whole:
        for hook in sys.path_hooks:  # a directory or an archive with a __main__ in it
            try:
                hook(what)
                whole = True
                break
            except ImportError:
                pass
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if how == "-m" else what if whole else os.path.dirname(what)
    if whole:
        import runpy
        runpy._run_module_as_main(what if how == "-m" else "__main__", how == "-m")
        return
    try:
        with open(what, "rb") as f:
            source = f.read()
    except OSError as e:
        print(f"can't open file {what!r}: {e}", file=sys.stderr)
        sys.exit(2)
    from importlib.machinery import SourceFileLoader, SourcelessFileLoader
    main["__file__"] = what
    if what.endswith(".pyc"):
        main["__loader__"] = loader = SourcelessFileLoader("__main__", what)
        code = loader.get_code("__main__")
    else:
        main["__loader__"] = SourceFileLoader("__main__", what)
        code = compile(source, what, "exec", 0, True)
    main["__cached__"] = None
    exec(code, main)


start()
