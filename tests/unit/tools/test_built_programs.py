"""Building: real `go build` of a module of a few lines."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from bootstrap.host import toolbox as toolbox_module
from bootstrap.host.commands import Command, CommandError, Result
from bootstrap.host.errors import FirstlightError, InputError
from bootstrap.host.packages import Need
from bootstrap.host.programs import ModuleCopy
from bootstrap.host.toolbox import Source
from bootstrap.host.toolchain import Go, build_environment, recipe_key
from tests.unit.tools.workbench import Bench, Recorder, hello

if TYPE_CHECKING:
    from collections.abc import Callable

GO = Go(Path("/go"), "1.26.8", "linux/amd64", Path("/cache"), may_change=False)
# As one run waits for the other: both are long over by then, unless something hangs.
PATIENCE_SECONDS = 60


def failing(stderr: str) -> Callable[[Command], None]:
    def before(command: Command) -> None:
        if command.arguments[0] == "build":
            raise CommandError("`go build` failed with exit code 1", cause="exit status 1", stderr=stderr)

    return before


def test_what_is_missing_is_built_once_and_kept(bench: Bench) -> None:
    runner = Recorder()
    path = bench.toolbox(runner).ensure(["hello"])["hello"]
    assert runner.run(Command(path)).text == "hello 1.2.3\n"
    assert bench.toolbox(runner).ensure(["hello"]) == {"hello": path}
    assert len(runner.builds) == 1
    assert bench.kept == [path.relative_to(bench.cache / "programs").as_posix()]
    assert bench.toolbox(runner).look(["hello"])[0].source is Source.CACHE


def test_only_what_is_asked_for_is_built_and_each_step_says_which_of_how_many(bench: Bench) -> None:
    runner = Recorder()
    programs = (hello(), hello("second"), hello("third"))
    bench.toolbox(runner, *programs).ensure(["third", "hello"])
    assert [command.arguments[-2].split("/")[-1] for command in runner.builds] == ["hello", "third"]  # type: ignore[union-attr]  # text
    assert bench.lines[0] == "2 to build (hello, third); 10 s when nothing is cached"
    which = dict.fromkeys(line.split(":")[0] for line in bench.lines[1:])
    assert list(which) == ["1/2 hello 1.2.3", "2/2 third 1.2.3"]
    assert all("elapsed, about" in line and line.endswith("left") for line in bench.lines[1:])


def test_the_build_leaves_the_recipe_alone_and_sees_no_tokens(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "https://proxy.example.test")
    monkeypatch.setenv("OP_CONNECT_TOKEN", "planted")
    before = sorted(bench.root.rglob("*"))
    runner = Recorder()
    bench.toolbox(runner).ensure(["hello"])
    assert sorted(bench.root.rglob("*")) == before
    environment = runner.builds[0].environment
    assert environment["GOPROXY"] == "https://proxy.example.test"
    assert environment["CGO_ENABLED"] == "0"
    assert "OP_CONNECT_TOKEN" not in environment


def test_no_toolchain_is_fetched_unasked() -> None:
    assert build_environment({})["GOTOOLCHAIN"] == "local"
    assert build_environment({"GOTOOLCHAIN": "auto"})["GOTOOLCHAIN"] == "auto"


def test_the_key_follows_what_is_built_and_nothing_else(bench: Bench) -> None:
    recipe = bench.root / "tools" / "hello"
    keys = [recipe_key(bench.root, hello(), GO)]
    assert recipe_key(bench.root, hello(seconds=99, precision=1), GO) == keys[0]
    keys.append(recipe_key(bench.root, hello(variables=()), GO))
    keys.append(recipe_key(bench.root, hello(), Go(GO.program, "1.27.0", GO.platform, GO.cache, may_change=False)))
    (recipe / "main.go").write_text("package main\n")
    keys.append(recipe_key(bench.root, hello(), GO))
    (recipe / "sub").mkdir()
    (recipe / "main.go").rename(recipe / "sub" / "main.go")
    keys.append(recipe_key(bench.root, hello(), GO))
    assert len(set(keys)) == 5


def test_two_runs_at_once_build_once(bench: Bench) -> None:
    waiting = threading.Event()
    second = Bench(bench.root, bench.cache)

    def hold(command: Command) -> None:
        if command.arguments[0] == "build":
            assert waiting.wait(PATIENCE_SECONDS)

    class Told(list[str]):
        def append(self, line: str) -> None:
            super().append(line)
            if "waiting for process" in line:
                waiting.set()

    second.lines = Told()
    began = threading.Event()
    slow, other = Recorder(before=lambda command: began.set() or hold(command)), Recorder()  # type: ignore[func-returns-value]  # set() gives None
    paths: list[Path] = []

    def run_first() -> None:
        paths.append(bench.toolbox(slow).ensure(["hello"])["hello"])

    thread = threading.Thread(target=run_first)
    thread.start()
    while not slow.builds:  # the first holds the lock from here on
        assert thread.is_alive()
        began.wait(0.01)
    paths.append(second.toolbox(other).ensure(["hello"])["hello"])
    thread.join(PATIENCE_SECONDS)
    assert paths[0] == paths[1]
    assert (len(slow.builds), len(other.builds)) == (1, 0)
    assert any("another run built it" in line for line in second.lines)


def test_an_interrupted_build_leaves_nothing_and_the_next_one_builds(bench: Bench) -> None:
    def interrupt(command: Command) -> None:
        if command.arguments[0] == "build":
            Path(str(command.arguments[-2])).write_text("half a program")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.toolbox(Recorder(before=interrupt)).ensure(["hello"])
    assert bench.kept == []
    assert bench.toolbox(Recorder()).ensure(["hello"])["hello"].exists()


def test_what_a_killed_build_left_is_removed(bench: Bench) -> None:
    left = bench.cache / "programs" / "work" / "tools-hello" / "tmpkilled"
    left.mkdir(parents=True)
    (left / "hello").write_text("half a program")
    bench.toolbox(Recorder()).ensure(["hello"])
    assert [name.split("-")[0] for name in bench.kept] == ["hello"]


def test_a_program_that_somebody_deleted_is_built_again(bench: Bench) -> None:
    path = bench.toolbox(Recorder()).ensure(["hello"])["hello"]
    path.unlink()
    (path.parent / "data").touch()
    assert bench.toolbox(Recorder()).ensure(["hello"])["hello"].exists()


def test_finished_programs_outlive_a_failure(bench: Bench) -> None:
    def fail_second(command: Command) -> None:
        if command.arguments[0] == "build" and str(command.arguments[-2]).endswith("/second"):
            failing("main.go:3:1: syntax error")(command)

    programs = (hello(), hello("second"))
    with pytest.raises(FirstlightError, match="second was not built") as caught:
        bench.toolbox(Recorder(before=fail_second), *programs).ensure(["hello", "second"])
    assert [name.split("-")[0] for name in bench.kept] == ["hello"]
    log = Path(caught.value.remedy.removeprefix("read "))
    assert "main.go:3:1: syntax error" in log.read_text()


@pytest.mark.parametrize(
    ("stderr", "fact"),
    [
        ('go: x@v1: Get "https://proxy/x": dial tcp: lookup proxy: no such host', "its sources cannot be fetched"),
        ("go: x@v1: reading https://proxy/x: 502 Bad Gateway", "its sources cannot be fetched"),
        ("compile: writing output: write /cache/x: no space left on device", "the disk is full"),
    ],
)
def test_network_and_disk_are_named(bench: Bench, stderr: str, fact: str) -> None:
    with pytest.raises(InputError, match=fact) as caught:
        bench.toolbox(Recorder(before=failing(stderr))).ensure(["hello"])
    assert "what is finished is kept" in caught.value.remedy


def test_a_build_that_makes_another_version_is_refused(bench: Bench) -> None:
    with pytest.raises(FirstlightError, match="another version") as caught:
        bench.toolbox(Recorder(), hello(variables=(("main.version", "9.9.9"),))).ensure(["hello"])
    assert caught.value.cause == "wanted 1.2.3, it says 9.9.9"
    assert bench.kept == []


def test_a_go_that_is_too_old_is_named(bench: Bench) -> None:
    (bench.root / "tools" / "hello" / "go.mod").write_text("module example.test/hello\n\ngo 1.999.0\n")
    with pytest.raises(InputError, match=r"building it needs Go 1\.999\.0, /\S*go is 1\."):
        bench.toolbox(Recorder()).ensure(["hello"])


def test_too_little_disk_is_refused_before_building(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(which=shutil.which, disk_usage=lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr(toolbox_module, "shutil", full)
    monkeypatch.setattr(toolbox_module, "_size", lambda _: 0)
    runner = Recorder()
    with pytest.raises(InputError, match=r"building needs \d+\.\d GB of disk, \S+ has 0\.0 GB free"):
        bench.toolbox(runner, hello(seconds=500)).ensure(["hello"])
    assert runner.builds == []


def test_a_compiler_is_asked_for_only_by_c_programs(bench: Bench, shim: Callable[..., str]) -> None:
    answer = json.dumps({"GOVERSION": "go1.26.8", "GOOS": "linux", "GOARCH": "amd64", "GOCACHE": str(bench.cache)})
    with pytest.raises(InputError) as caught:
        bench.toolbox(Recorder(), hello(cgo=True), search_path=shim("go", answer)).ensure(["hello"])
    assert [problem.text.split()[0] for problem in caught.value.problems] == ["gcc", "pkg-config"]


def test_what_must_be_built_in_c_needs_its_system_packages(bench: Bench) -> None:
    toolbox = bench.toolbox(Recorder(), hello(), hello("in-c", cgo=True))
    assert toolbox.needs(["hello"]) == frozenset()
    assert toolbox.needs(["hello", "in-c"]) == {Need.BUILD_C}


def module_copy(bench: Bench, digest: str) -> tuple[Recorder, ModuleCopy]:
    source = bench.root.parent / "module-cache" / "greeting@v0.1.0"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module example.test/greeting\n\ngo 1.21\n")
    (source / "greeting.go").write_text(
        'package greeting\n\nimport _ "embed"\n\n//go:embed dist/page\nvar Page string\n'
    )
    source.chmod(0o555)
    recipe = bench.root / "tools" / "hello"
    recipe.joinpath("go.mod").write_text(
        "module example.test/hello\n\ngo 1.21\n\nrequire example.test/greeting v0.1.0\n\n"
        "replace example.test/greeting => ./module\n"
    )
    recipe.joinpath("main.go").write_text(
        'package main\n\nimport (\n\t"fmt"\n\n\t"example.test/greeting"\n)\n\n'
        "func main() { fmt.Println(greeting.Page) }\n"
    )

    def download(command: Command) -> Result | None:
        if command.arguments[:2] != ("mod", "download"):
            return None
        return Result(0, json.dumps({"Dir": str(source), "Sum": "h1:right="}).encode(), b"", 0.0)

    copy = ModuleCopy("example.test/greeting", "v0.1.0", digest, "module", (("dist/page", "hello 1.2.3"),))
    return Recorder(before=download), copy


def test_a_module_is_copied_completed_and_partly_kept(bench: Bench) -> None:
    runner, copy = module_copy(bench, "h1:right=")
    program = hello(copies=(copy,), variables=(), keeps=(("module/dist", "data"),))
    path = bench.toolbox(runner, program).ensure(["hello"])["hello"]
    assert (path.parent / "data" / "page").read_text() == "hello 1.2.3"
    assert bench.kept == sorted(f"{path.parent.name}/{name}" for name in ("hello", "data/page"))


def test_a_copied_module_with_another_checksum_is_refused(bench: Bench) -> None:
    runner, copy = module_copy(bench, "h1:pinned=")
    with pytest.raises(FirstlightError, match="is not what was pinned"):
        bench.toolbox(runner, hello(copies=(copy,))).ensure(["hello"])
    assert runner.builds == []
