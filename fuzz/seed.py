#!/usr/bin/env python3
"""Writes fuzz/corpus/<target>/ from format-spec/vectors/*.json, so that the fuzzer starts from bytes that mean something."""
import json
import pathlib

TARGETS = {
    "keyslot": "keyslot", "note object": "header", "snapshot object": "header", "head": "head", "directory": "directory",
    "index": "index", "config": "config", "tree": "tree", "list": "list", "snapshot": "snapshot", "revocation": "snapshot",
    "session start": "session", "acknowledgement": "session", "closed": "session", "condemn": "gc", "verdict": "gc",
    "forgotten": "gc", "note": "note", "parity": "parity",
}
here = pathlib.Path(__file__).resolve().parent
for page in sorted((here.parent / "format-spec" / "vectors").glob("*.json")):
    cases = json.loads(page.read_text())
    if not isinstance(cases, list):
        continue
    for number, case in enumerate(cases):
        data = bytes.fromhex(case["hex"])
        target = TARGETS.get(case["thing"])
        if case["thing"] == "recipe":
            # The target takes the length in two bytes.
            target, data = "recipe", data[:3] + data[5:]
        if target:
            folder = here / "corpus" / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{page.stem}-{number}").write_bytes(data)
