"""What a newcomer reads is true: files that are named exist, so do commands and their options."""

from __future__ import annotations

import os
import re
from pathlib import Path

import tasks
from bootstrap.views.usage import CommandLine

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
COMMAND = re.compile(r"(?:\./|`)invoke ([a-z][a-z.]*[a-z])((?: +[^\s`|;&)]+)*)")
# What stands before any task, and an option that is named alone; those of other programs follow their name.
CORE_OPTION = re.compile(r"(?:\./|`)invoke --([a-z-]+)")
OPTION = re.compile(r"`--([a-z][a-z-]*)[ =`]")
TELLING = (".md", ".py", ".gotmpl", ".yaml", ".sh")
# Folders that belong to one person or one machine.
MACHINE_PATH = re.compile(r"(?<![\w$.}])(?:/home/(?!bozo/)|/root/|/Users/|/work/|/tmp/)\w+")
ALLOWED_HOSTS = {"files.pythonhosted.org", "pypi.org"}


def anchors(text: str) -> set[str]:
    headings = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in headings}


def documents(files: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in files.items() if name.endswith(".md")}


def test_links_lead_somewhere(files: dict[str, str]) -> None:
    broken = []
    for name, text in documents(files).items():
        for link in LINK.findall(text):
            if "://" in link:
                continue
            target, _, anchor = link.partition("#")
            path = (ROOT / name).parent / target if target else ROOT / name
            if not path.exists() or (anchor and anchor not in anchors(path.read_text())):
                broken.append(f"{name}: {link}")
    assert not broken


def test_every_document_is_reached_from_the_readme(files: dict[str, str]) -> None:
    reached, ahead = set[str](), ["README.md"]
    while ahead:
        name = ahead.pop()
        if name in reached or name not in files:
            continue
        reached.add(name)
        links = [link.partition("#")[0] for link in LINK.findall(files[name])]
        ahead += [os.path.normpath(Path(name).parent / link) for link in links if link.endswith(".md")]
    assert set(documents(files)) == reached


def options(word: str) -> set[str]:
    arguments = tasks.namespace[word].get_arguments()
    return {option.rstrip("_").replace("_", "-") for argument in arguments for option in argument.names}


def test_commands_exist_with_their_options(files: dict[str, str]) -> None:
    known = tasks.namespace.task_names
    wrong = []
    for name, text in files.items():
        if not name.endswith(TELLING) or name.startswith("tests/"):
            continue
        for word, rest in COMMAND.findall(text):
            if word not in known:
                wrong.append(f"{name}: ./invoke {word}")
                continue
            given = set(re.findall(r"--([a-z][a-z-]*)", rest)) - {"help"}
            wrong += [f"{name}: ./invoke {word} --{option}" for option in sorted(given - options(word))]
    assert not wrong


def test_options_that_documents_name_alone_are_of_some_command(files: dict[str, str]) -> None:
    core = {name for argument in CommandLine(tasks.namespace).core_args() for name in argument.names}
    known = set[str]().union(*(options(word) for word in tasks.namespace.task_names))
    wrong = []
    for name, text in documents(files).items():
        wrong += [f"{name}: ./invoke --{option}" for option in CORE_OPTION.findall(text) if option not in core]
        wrong += [f"{name}: --{option}" for option in OPTION.findall(text) if option not in known | core]
    assert not wrong


def test_no_file_names_a_folder_of_some_machine(files: dict[str, str]) -> None:
    found = []
    for name, text in files.items():
        if name == "tests/unit/docs/test_documents.py":
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            if MACHINE_PATH.search(line) or (len(ROOT.parts) > 2 and f"{ROOT}/" in line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert not found


def test_packages_come_from_the_public_registry(files: dict[str, str]) -> None:
    locks = files["uv.lock"] + files["requirements.txt"]
    assert set(re.findall(r"https?://([^/\"\s]+)", locks)) <= ALLOWED_HOSTS
    assert not re.search(r"--(?:extra-)?index-url|--find-links", files["requirements.txt"])
