#!/usr/bin/env python3
"""Check what an auditor was given of a log of es_power, without es_power and without that log.

    python3 -I offline.py --key VERIFIER_KEY DIRECTORY    what `es-power audit export` wrote
    python3 -I offline.py --key VERIFIER_KEY PROOF.json   what `es-power audit proof -o json` printed

This one file is all of it, and it needs Python's standard library alone; take it from a copy of es_power that you
trust, and the verifier key from whoever runs the service. Of each proof it says whether the record, byte for byte, is
in the log that was signed; of a directory also whether each fact in it is what its record says, and none lacks. It
exits with 0 where all is so, with 4 where something is not, with 1 where something could not be checked.

1. The record's hash is SHA-256 over a fixed prefix, the topic and the state (es_power/log/chain.py); the stream's id in
   it is made of its name (UUID version 5), or is its name, where that is a UUID.
2. The leaf is SHA-256(0x00 || hash), a node SHA-256(0x01 || left || right); the path leads to the root (RFC 9162).
3. The note's text has the number of records and the root (C2SP tlog-checkpoint), and an Ed25519 signature (RFC 8032).
4. A state is one msgpack array: a fact's fields in their order, which `layout.json` names by topic. That file is in
   the directory, and only the one whose SHA-256 stands here is believed. In `events.jsonl` a UUID is text, a time
   RFC 3339, other bytes are base64; where the array is shorter, the rest has the values that the layout gives.
5. A label in a state is a number, and the SHA-256 of a salt of 16 bytes and the text; of a long text the SHA-256 of
   all of it stands between the two, and the text is its beginning. Salts are in `labels.json`.
6. What a sweep says of one VM are two bytes of its states, or an entry of `odd`, by the VM's place in the inventory
   that the sweep names, whose record is proved too. An imported fact of another log is a record inside a record.
"""

import argparse
import base64
import contextlib
import datetime as dt
import functools
import hashlib
import json
import os
import struct
import sys
import uuid

# SHA-256 of the `layout.json` that goes with this file.
LAYOUT = "a66b7a12c4ba96d5d90f92db1f5b02d81d164751205629dfdfb405038c8fba83"

# ------------------------------------------------------------------------------------ Ed25519, after RFC 8032, 5.1

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _point(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * SQRT_M1 % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


BASE = _point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(public, message, signature):
    """Whether an Ed25519 signature is true."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r, s = _point(public), _point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % Q
    return _equal(_multiply(s, BASE), _add(r, _multiply(h, a)))


# ------------------------------------------------------------------------------------------------------ the proof

# What reading raises where a file is of another shape.
NO_PROOF = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error, RecursionError)

STREAMS = uuid.UUID("6f1e0c4a-5f0b-5d0e-9b5e-3d2c8a1f7e10")  # the namespace of streams' names


class BadProofError(Exception):
    """It proves nothing, and why."""


class UncheckedError(Exception):
    """It could not be checked, and why."""


def record_hash(proof):
    """The hash of the record's bytes after the record before it."""
    topic, state = proof["topic"].encode(), _hex(proof["state"])
    before, stream = _hex(proof["previous"], 32), _hex(proof["stream_id"], 16)
    numbers = proof["version"], proof["position"], proof["recorded_at_ns"]
    prefix = struct.pack(">B32s16sQQqI", 1, before, stream, *numbers, len(topic))
    return hashlib.sha256(prefix + topic + state).digest()


def root_of(index, size, leaf, path):
    """The root that a path leads to; BadProofError where it has another shape."""
    if not 0 <= index < size:
        raise BadProofError("the record is not among those that were signed")
    number, last, node = index, size - 1, hashlib.sha256(b"\0" + leaf).digest()
    for each in path:
        if last == 0:
            raise BadProofError("the path is too long")
        if number & 1 or number == last:
            node = hashlib.sha256(b"\1" + each + node).digest()
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = hashlib.sha256(b"\1" + node + each).digest()
        number, last = number >> 1, last >> 1
    if last:
        raise BadProofError("the path is too short")
    return node


@functools.lru_cache
def signed_tree(note, key):
    """Size and root of a checkpoint that the verifier key signed."""
    name, key_id, encoded = key.strip().split("+", 2)
    public = base64.b64decode(encoded, validate=True)
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        _dash, signer, signature = line.split(" ")
        raw = base64.b64decode(signature, validate=True)
        if signer == name and raw[:4].hex() == key_id and public[:1] == b"\1":
            if is_signed(public[1:], text.encode(), raw[4:]):
                _origin, size, root = text.splitlines()[:3]
                return int(size), base64.b64decode(root, validate=True)
            raise BadProofError("the signature is not true")
    raise BadProofError(f"the checkpoint is not signed by {name}")


def stream_id(name):
    """The id of a stream: made of its name, or where that is a UUID, as eventsourcing's are called, itself."""
    with contextlib.suppress(ValueError):
        if str(given := uuid.UUID(name)) == name:
            return given.hex
    return uuid.uuid5(STREAMS, name).hex


def check(proof, key):
    """Give the number of records that were signed; BadProofError where the proof is none."""
    size, root = signed_tree(proof["note"], key)
    if stream_id(proof["stream"]) != proof["stream_id"]:
        raise BadProofError("the stream is not called so")
    if any(isinstance(each, bool) for each in proof.values()):
        raise BadProofError("a number is none")
    leaf = record_hash(proof)
    if leaf.hex() != proof["hash"]:
        raise BadProofError("the record is not the one of this hash")
    if size != proof["size"]:
        raise BadProofError("the checkpoint is of another size")
    if root_of(proof["position"] - 1, size, leaf, [_hex(each, 32) for each in proof["path"]]) != root:
        raise BadProofError("the path does not lead to the root that was signed")
    return size


def parse(text):
    """What a text of JSON says. Of two values with one name Python takes the last, and a reader perhaps the first."""
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs):
    if len(said := dict(pairs)) != len(pairs):
        raise BadProofError("a name stands twice in one object")
    return said


def _hex(text, size=None):
    data = bytes.fromhex(text)  # which passes over blanks
    if data.hex() != text or size not in {None, len(data)}:
        raise BadProofError(f"{text!r} is not the hexadecimal of {size or 'some'} bytes")
    return data


# ------------------------------------------------------------------------------------ msgpack, as far as it is used


def unpack(data):
    """The one value that the bytes are."""
    value, end = _value(data, 0)
    if end != len(data):
        raise ValueError("bytes are left over")
    return value


def _value(data, at):
    kind, at = data[at], at + 1
    if kind < 0x80 or kind >= 0xE0:
        return (kind if kind < 0x80 else kind - 256), at
    if 0x90 <= kind < 0xA0:
        return _array(data, at, kind & 15)
    if 0xA0 <= kind < 0xC0:
        return _string(data, at, kind & 31)
    if kind in _FIXED:
        return _FIXED[kind], at
    form, more = _LONG[kind]  # no map and no extension is ever written
    (number,) = struct.unpack_from(form, data, at)
    at += struct.calcsize(form)
    return more(data, at, number) if more else (number, at)


def _array(data, at, size):
    values = []
    for _ in range(size):
        value, at = _value(data, at)
        values.append(value)
    return values, at


def _bytes(data, at, size):
    return data[at : at + size], at + size  # one that is cut short does not end where the record does


def _string(data, at, size):
    return data[at : at + size].decode(), at + size


_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_LONG = {
    **{kind: (f">{form}", _bytes) for kind, form in enumerate("BHI", 0xC4)},
    **{kind: (f">{form}", None) for kind, form in enumerate("fdBHIQbhiq", 0xCA)},
    **{kind: (f">{form}", _string) for kind, form in enumerate("BHI", 0xD9)},
    **{kind: (f">{form}", _array) for kind, form in enumerate("HI", 0xDC)},
}


# ------------------------------------------------------------------------------------------------------ a directory


class Facts:
    """What the records of a directory say."""

    def __init__(self, proofs, layout, labels):
        self._proofs = {proof["position"]: proof for proof in proofs}
        self._versions = {(proof["stream"], proof["version"]): proof for proof in proofs}
        self._named = set()  # stream and version of inventories
        self._layout = layout
        self._labels = {each["id"]: each for each in labels}

    def owed(self, proof, instances):
        """Record and index of the lines that a record has to have; of a sweep, where VMs were asked for, one for each.

        An inventory may be there for the sake of the sweeps that name it, which say nothing of other VMs then.
        """
        position, kind = proof["position"], proof["topic"].partition(":")[0]
        if instances and kind == "HostSwept":
            sweep = self._values(proof["topic"], _hex(proof["state"]))
            self._named.add((proof["stream"], sweep["inventory"]))
            listed, asked = self._listed(proof, sweep), [uuid.UUID(each).bytes for each in instances]
            return {(position, listed.index(each)) for each in asked if each in listed} or {(position, -1)}
        is_for_sweeps = kind == "InventoryRecorded" and (proof["stream"], proof["version"]) in self._named
        return set() if is_for_sweeps else {(position, -1)}

    def place(self, row):
        """Record and index of a line; -1 where it is no part of a sweep of this log."""
        if (proof := self._proofs.get(row["record"])) is None:
            raise BadProofError("there is no proof of its record that holds")
        index = row.get("index", -1) if proof["topic"].startswith("HostSwept:") else -1
        if type(row["record"]) is not int or type(index) is not int:
            raise BadProofError("its record or its index is none")  # to Python, 1 and true are the same
        return row["record"], index

    def check(self, row):
        """BadProofError where a line of `events.jsonl` is not what its record says; UncheckedError."""
        proof = self._proofs[self.place(row)[0]]
        # As text: to Python, 1 and true are the same.
        if json.dumps(self._row(proof, row), sort_keys=True) != json.dumps(row, sort_keys=True):
            raise BadProofError("its record says something else")

    def _row(self, proof, row):
        where = {name: proof[name] for name in ("position", "stream", "version")}
        topic, state, recorded = proof["topic"], _hex(proof["state"]), proof["recorded_at_ns"]
        values = self._values(topic, state)
        if topic.startswith("FactImported:"):
            where = {name: values[name] for name in where}
            where.update({"index": values["index"]} if values["index"] is not None else {})
            topic, state, recorded = values["topic"], values["state"], values["recorded_then"]
            values = self._values(topic, state)
        elif topic.startswith("HostSwept:") and row["type"] == "StateObserved":
            where["index"] = row["index"]
            topic, values = "StateObserved:1", self._part(proof, values, row["index"])
        data = {name: self._told(kind, values[name], row["data"][name]) for name, kind, *_ in self._layout[topic]}
        said = {"recorded_at": rfc3339(recorded), "type": topic.partition(":")[0], "data": data}
        return {"record": row["record"], **where, **said}

    def _values(self, topic, state):
        if topic not in self._layout:
            raise UncheckedError(f"{topic} is not in the layout")
        fields, values = self._layout[topic], unpack(state)
        values += [fallback for _, _, fallback in fields[len(values) :]]
        return {name: values[place] for place, (name, *_) in enumerate(fields)}

    def _part(self, proof, sweep, index):
        """What a sweep says of the VM at a place of its inventory."""
        if not 0 <= index < len(listed := self._listed(proof, sweep)):
            raise BadProofError("the sweep has no VM of its index")
        odd = {place: answer for place, *answer in sweep["odd"]}
        state, reason = odd.get(index, sweep["states"][2 * index : 2 * index + 2])
        rest = {name: fallback[0] for name, _, *fallback in self._layout["StateObserved:1"] if fallback}
        same = {name: sweep[name] for name in ("observed_at", "asked_at", "connection", "number")}
        return {**rest, **same, "instance": listed[index], "state": state, "reason": reason, "trigger": "sweep"}

    def _listed(self, proof, sweep):
        if (listed := self._versions.get((proof["stream"], sweep["inventory"]))) is None:
            raise UncheckedError("the inventory that the sweep names is not in the directory")
        return self._values(listed["topic"], _hex(listed["state"]))["instances"]

    def _told(self, kind, value, said):
        if kind == "label" and value is not None:
            return self._text(value[0], value[1], said)
        if isinstance(value, list):
            return [self._told(kind, each, None) for each in value]
        if isinstance(value, bytes):
            return str(uuid.UUID(bytes=value)) if kind == "uuid" else base64.b64encode(value).decode()
        return rfc3339(value) if kind == "time" and value is not None else value

    def _text(self, number, digest, said):
        if not isinstance(said, str):
            return {"forgotten": digest.hex()}
        row = self._labels.get(number)
        is_cut = len(said) > 255 or "\ufffd" in said
        if row is None or (row["whole"] == "" and is_cut):
            raise UncheckedError(f"{said!r} cannot be compared: its salt is not there, or it was cut long ago")
        # Fixed lengths: else a part of the text could be taken for salt, or for the hash of a longer one.
        salt, whole = _hex(row["salt"], 16), b"" if row["whole"] in {None, ""} else _hex(row["whole"], 32)
        if row["whole"] is not None and not is_cut:
            raise BadProofError(f"{said!r} has the hash of a longer text")
        if hashlib.sha256(salt + whole + said.encode()).digest() != digest:
            raise BadProofError(f"{said!r} is not the text that it was recorded with")
        return said


def rfc3339(nanoseconds):
    """A time as `events.jsonl` has it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(seconds=seconds)  # noqa: UP017 (of Python 3.11)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def check_directory(folder, key):
    """Check all that `es-power audit export` wrote; give a summary, what is wrong, and what could not be checked."""
    wrong, unchecked, proofs, files, manifest = [], [], [], {}, parse(_read(folder, "manifest.json"))
    for name, digest in manifest["sha256"].items():
        files[name] = _read(folder, name)
        if hashlib.sha256(files[name]).hexdigest() != digest:
            wrong.append(f"{name}: this is not the file that was written")
    for proof in parse(files["proofs.json"]):
        try:
            check(proof, key)
            proofs.append(proof)
        except BadProofError as error:
            wrong.append(f"record {proof['position']}: {error}")
    if hashlib.sha256(files["layout.json"]).hexdigest() != LAYOUT:
        unchecked.append("events.jsonl: its layout.json is of another es_power than this verifier")
        return f"{len(proofs)} records were looked at", wrong, unchecked
    facts, told = Facts(proofs, parse(files["layout.json"]), parse(files["labels.json"])), set()
    *lines, rest = files["events.jsonl"].decode().split("\n")
    place = (0, -1)
    if rest:
        wrong.append(f"events.jsonl, line {len(lines) + 1}: it has no end, so it was cut off, or added")
    for number, line in enumerate(lines, 1):
        try:
            row = parse(line)
            before, place = place, facts.place(row)
            if place <= before:
                wrong.append(f"events.jsonl, line {number}: it is there twice, or is not in its order")
            facts.check(row)
            told.add(place)
        except BadProofError as error:
            wrong.append(f"events.jsonl, line {number}: {error}")
        except UncheckedError as error:
            told.add(place)
            unchecked.append(f"events.jsonl, line {number}: {error}")
        except NO_PROOF as error:
            wrong.append(f"events.jsonl, line {number}: it is no fact: {error!r}")
    if any(proof["note"].encode() != files["checkpoint"] for proof in proofs) or (files["checkpoint"] and not proofs):
        wrong.append("checkpoint: it is not the one that the proofs lead to")
    wrong += _compared(facts, proofs, told, manifest)
    records, instances = {record for record, _ in told}, manifest["instances"]
    first, last = min(records, default=1), max(records, default=0)
    between = "all between them" if len(records) == last - first + 1 else "some between them were not exported"
    about = f", about {', '.join(instances)}" if instances else ""
    return f"{len(records)} records were looked at, {first} to {last}{about}; {between}", wrong, unchecked


def _compared(facts, proofs, told, manifest):
    """What is wrong with the lines that are there, and with the manifest, by those that there have to be."""
    owed, instances, after, until = set(), manifest["instances"], manifest["after"], manifest["until"]
    for proof in sorted(proofs, key=lambda each: each["topic"].startswith("InventoryRecorded:")):  # sweeps name them
        try:
            owed |= facts.owed(proof, instances)
        except UncheckedError:  # then each line of it that is there was said to be unchecked
            position = proof["position"]
            owed |= {each for each in told if each[0] == position} or {(position, -1)}
    for record, index in sorted(owed ^ told):
        said = "lacks it, or has it changed" if (record, index) in owed else "has it, and the manifest does not"
        yield f"record {record}{f', index {index}' if index >= 0 else ''}: events.jsonl {said}"
    records = {record for record, _ in owed}
    gone = {int(record) for record in manifest["unreadable"] if after < int(record) <= until} - records
    is_whole = instances or len(records) + len(gone) == until - after
    if manifest["facts"] != len(owed) or not is_whole or not all(after < record <= until for record in records):
        yield "manifest.json: `facts`, `after` and `until` are not those of the records"


def _read(folder, name):
    if os.path.basename(name) != name:
        raise ValueError(f"{name!r} is no file of a directory")
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def main():
    """Check what was named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--key", required=True, help="the verifier key, as `es-power audit keygen` printed it")
    parser.add_argument("names", nargs="+", metavar="DIRECTORY|PROOF.json")
    options = parser.parse_args()
    code = 0
    for name in options.names:
        try:
            if os.path.isdir(name):
                summary, wrong, unchecked = check_directory(name, options.key)
                print(f"{name}: {summary}: {'all is as it was signed' if not wrong else 'NOT all is as it was signed'}")
                for said in (*wrong, *unchecked):
                    print(f"{name}: {said}", file=sys.stderr)
                code = 4 if wrong else code or bool(unchecked)
                continue
            with open(name, encoding="utf-8") as file:
                content = parse(file.read())
            for proof in content if isinstance(content, list) else [content]:
                size = check(proof, options.key)
                print(f"{name}: record {proof['position']} of {proof['stream']!r} is in the log of {size} records")
        except BadProofError as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = 4
        except (OSError, *NO_PROOF) as error:
            print(f"{name}: this is no proof: {error}", file=sys.stderr)
            code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
