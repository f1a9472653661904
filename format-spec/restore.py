#!/usr/bin/env python3
"""Restores a snapshot from a local esker repository. Written from the pages of this folder alone, as a proof that they are enough.

    pip install blake3 pynacl zstandard argon2-cffi
    restore.py REPOSITORY list                                 --key-file FILE
    restore.py REPOSITORY restore SID FOLDER                   --key-file FILE     (an ESKER-OWNER-1 line)
    ... or --recovery-key-file FILE, or --passphrase-file FILE

It reads packs only (never index files), checks every hash, commitment, tag, id and stream MAC, and is slow. It restores bytes, folders,
symbolic and hard links, attributes, modes and times; owners, flags and special files it leaves out. Not a product: use esker if you can.
"""
import argparse
import hashlib
import hmac
import os
import pathlib
import struct
import sys

import nacl.bindings as sodium
import zstandard
from blake3 import blake3

DATA, TREE, LIST = 1, 2, 3
FILE, FOLDER, SYMLINK = 1, 2, 3


def need(condition, what):
    if not condition:
        raise ValueError(what)


# README.md, conventions


def kdf(context, material):
    return blake3(material, derive_key_context="esker 2026-11 v1 " + context).digest()


def mac(key, message):
    return blake3(message, key=key).digest()


def cbor(data):
    """One value of the subset the format uses; refuses every other form."""
    value, rest = cbor_value(data)
    need(not rest, "bytes behind the CBOR")
    return value


def cbor_value(data):
    need(data, "CBOR ends early")
    major, low, data = data[0] >> 5, data[0] & 31, data[1:]
    if major == 7:
        need(low in (20, 21, 22), "CBOR simple value")
        return {20: False, 21: True, 22: None}[low], data
    if low < 24:
        number = low
    else:
        need(low <= 27, "CBOR indefinite length")
        size = 1 << (low - 24)
        need(len(data) >= size, "CBOR ends early")
        number, data = int.from_bytes(data[:size], "big"), data[size:]
        need(number >= (24 if size == 1 else 1 << (4 * size)), "CBOR not in shortest form")
    if major == 0:
        return number, data
    if major == 1:
        return -1 - number, data
    if major in (2, 3):
        need(number <= len(data), "CBOR ends early")
        text = data[:number]
        return (text if major == 2 else text.decode()), data[number:]
    need(major == 4, "CBOR map, tag or float")
    items = []
    for _ in range(number):
        item, data = cbor_value(data)
        items.append(item)
    return items, data


def check_extra(extra):
    numbers = [field[0] for field in extra]
    need(numbers == sorted(set(numbers)), "extra out of order")
    need(not any(field[1] for field in extra), "a required field of a later version")


# keys.md


ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def base32(text, size):
    number = 0
    digits = [c for c in text.upper().replace("O", "0").replace("I", "1").replace("L", "1") if not c.isspace() and c != "-"]
    need(len(digits) * 5 == size * 8, "a key of another length")
    for digit in digits:
        number = number << 5 | ALPHABET.index(digit)
    return number.to_bytes(size, "big")


def owner_line(text):
    tag, _, digits = text.strip().partition(" ")
    need(tag == "ESKER-OWNER-1", "not an owner key line")
    data = base32(digits, 40)
    need(kdf("checksum", tag.encode() + data[:36])[:4] == data[36:], "checksum of the key line")
    return data[:32]


def recovery_key(text):
    data = base32(text, 35)
    need(kdf("checksum", b"recovery" + data[:32])[:3] == data[32:], "checksum of the recovery key")
    return data[:32]


# keyslot.md


def open_slot(slot, passphrase, recovery):
    need(len(slot) == 304 and slot[:9] == b"ESKERKEY\x01" and slot[11] == 0, "not a keyslot")
    m, t, p = struct.unpack("<III", slot[12:24])
    if slot[9] == 1 and passphrase is not None:
        from argon2.low_level import Type, hash_secret_raw

        need(19456 <= m <= 1048576 and 1 <= t <= 10 and 1 <= p <= 16, "argon2id out of bounds")
        stretched = hash_secret_raw(passphrase, slot[24:56], t, m, p, 32, Type.ID, 0x13)
    elif slot[9] == 2 and recovery is not None:
        stretched = kdf("recovery", recovery)
    else:
        return None
    covered = slot[:88]
    if not hmac.compare_digest(kdf("slot commit", stretched + covered), slot[88:120]):
        return None
    payload = open_box(kdf("slot box", stretched + covered), slot[88:120], 6, 0, slot[120:])
    if payload[0] != 1 or slot[10] != 1:
        return None
    root = payload[1:33]
    need(kdf("repository id", root) == slot[56:88], "a root of another repository")
    return root


# envelope.md


def open_box(key, header_hash, kind, number, box):
    aad = header_hash + bytes([kind, 0, 0, 0]) + struct.pack("<I", number)
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(box[24:], aad, box[:24], key)


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


class Owner:
    def __init__(self, root):
        self.root = root
        self.repository = kdf("repository id", root)
        self.secret = kdf("sealing secret", root)
        self.public = sodium.crypto_scalarmult_base(self.secret)
        self.agreed = {}

    def writer(self, generation, w=bytes(16)):
        return kdf("writer", self.root + struct.pack("<I", generation) + w)

    def chunk_id(self, generation, chunk_type, data):
        return mac(kdf("chunk id", self.writer(generation) + bytes([chunk_type, 0])), data)

    def hpke(self, enc, writer):
        """RFC 9180: Decap, then the key schedule in mode_psk, then Export("object", 32)."""
        if (enc, writer) not in self.agreed:
            kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\xff\xff"
            shared = sodium.crypto_scalarmult(self.secret, enc)
            need(shared != bytes(32), "key agreement")
            eae = labeled_extract(kem, b"", b"eae_prk", shared)
            shared = labeled_expand(kem, eae, b"shared_secret", enc + self.public, 32)
            psk = kdf("seal psk", writer)
            info = b"esker 2026-11 v1 seal" + self.repository
            context = b"\x01" + labeled_extract(suite, b"", b"psk_id_hash", self.repository)
            context += labeled_extract(suite, b"", b"info_hash", info)
            secret = labeled_extract(suite, shared, b"secret", psk)
            exporter = labeled_expand(suite, secret, b"exp", context, 32)
            self.agreed[enc, writer] = labeled_expand(suite, exporter, b"sec", b"object", 32)
        return self.agreed[enc, writer]

    def boxes(self, header, wanted):
        need(header[:9] == b"ESKEROBJ\x01" and len(header) == 128, "not an object of version 1")
        kind, kx, suite = header[9:12]
        need(kind == wanted and suite == 1 and kx == (1 if kind in (1, 3) else 2), f"an object of type {kind}")
        generation = struct.unpack("<I", header[12:16])[0]
        need(generation > 0, "generation 0")
        writer = self.writer(generation, header[16:32])
        ikm = self.hpke(header[32:64], writer) if kx == 1 else kdf("records", writer)
        prk = kdf("object prk", header[:96] + self.repository + ikm)
        need(hmac.compare_digest(kdf("object commit", prk), header[96:]), "commitment")
        key, header_hash = kdf("object box", prk), kdf("object header", self.repository + header)
        return generation, lambda kind, number, box: open_box(key, header_hash, kind, number, box)

    def body(self, data, wanted):
        generation, opened = self.boxes(data[:128], wanted)
        plain = opened(5, 0, data[128:])
        length = struct.unpack("<I", plain[:4])[0]
        need(length <= len(plain) - 4 and not any(plain[4 + length :]), "padding")
        return generation, plain[4 : 4 + length]


# pack.md


class Pack:
    def __init__(self, owner, path):
        self.path, self.data = path, path.read_bytes()
        need(blake3(self.data).hexdigest() == path.name, f"{path} does not hash to its name")
        self.generation, self.opened = owner.boxes(self.data[:128], 1)
        head = self.opened(1, 0, self.data[128:232])
        frames, chunks, bases, numbers, directory, pad, sealed = struct.unpack("<IIIIIIQ", head[4:36])
        need(directory == 40 + 32 * bases + 16 * frames + 52 * chunks + 2 * numbers, "directory length")
        need(232 + directory + sealed + pad == len(self.data), "pack size")
        table = self.opened(2, 0, self.data[232 : 232 + directory])
        self.bases = [table[32 * i : 32 * i + 32] for i in range(bases)]
        need(self.bases == sorted(set(self.bases)), "base table")
        at = 32 * bases
        rows = [struct.unpack("<IIIB", table[at + 16 * i : at + 16 * i + 13]) for i in range(frames)]
        at += 16 * frames
        listed = table[at + 52 * chunks :]
        listed = struct.unpack(f"<{numbers}H", listed)
        self.frames, self.chunks, offset = [], [], 232 + directory
        for number, (box, raw, count, codec) in enumerate(rows):
            self.frames.append((offset, box, raw, codec))
            offset, end = offset + box, 0
            for _ in range(count):
                row = table[at : at + 52]
                at += 52
                chunk_type, encoding, count_of_bases = row[32], row[33], struct.unpack("<H", row[34:36])[0]
                start, length, raw_length, first = struct.unpack("<IIII", row[36:])
                need(start == end and length > 0, "chunks end to end")
                end += length
                used = [self.bases[i] for i in listed[first : first + count_of_bases]] if encoding == 2 else None
                self.chunks.append((chunk_type, row[:32], number, start, length, raw_length, used))
            need(end == raw, "chunks of a frame")
        need(offset == 232 + directory + sealed and at == 32 * bases + 16 * frames + 52 * chunks, "frames")
        self.kept = (None, None)

    def frame(self, number):
        if self.kept[0] != number:
            offset, box, raw, codec = self.frames[number]
            plain = self.opened(3, number, self.data[offset : offset + box])
            if codec == 1:
                plain = zstandard.ZstdDecompressor(max_window_size=1 << 24).decompress(plain, max_output_size=raw)
            need(len(plain) == raw, "raw length")
            self.kept = (number, plain)
        return self.kept[1]


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            need(shift == 7 or byte != 0, "varint")
            return value, at


# chunks.md


class Chunks:
    def __init__(self, owner, repository):
        self.owner, self.copies = owner, {}
        for path in sorted((repository / "packs").glob("*/*")):
            try:
                pack = Pack(owner, path)
            except Exception as error:  # another copy may be whole
                print(f"{path}: {error}", file=sys.stderr)
                continue
            for row in pack.chunks:
                self.copies.setdefault((pack.generation, row[0], row[1]), []).append((pack, row))

    def read(self, generation, chunk_type, chunk_id, literal=False):
        for pack, (_, _, frame, start, length, raw_length, bases) in self.copies.get((generation, chunk_type, chunk_id), []):
            if literal and bases is not None:
                continue
            try:
                data = pack.frame(frame)[start : start + length]
                if bases is not None:
                    data = self.compose(generation, data, raw_length, bases)
                need(self.owner.chunk_id(generation, chunk_type, data) == chunk_id, "chunk id")
                return data
            except Exception as error:
                print(f"{pack.path}: {error}", file=sys.stderr)
        raise ValueError(f"no good copy of chunk {chunk_id.hex()}")

    def compose(self, generation, recipe, raw_length, bases):
        whole = [self.read(generation, DATA, base, literal=True) for base in bases]
        need(all(len(base) <= 1 << 20 for base in whole), "a base above 1 MiB")
        out, at, ends = b"", 0, [0] * len(bases)
        while at < len(recipe):
            base = recipe[at]
            need(base < len(bases), "base outside the list")
            step, at = varint(recipe, at + 1)
            length, at = varint(recipe, at)
            start = ends[base] + (step >> 1 ^ -(step & 1))
            need(start >= 0 and length > 0 and start + length <= len(whole[base]), "range")
            out, ends[base] = out + whole[base][start : start + length], start + length
        need(len(out) == raw_length, "sum of a recipe")
        return out

    # tree.md

    def items(self, generation, level, items, leaves):
        for chunk_id, length in items:
            if level == 0:
                yield chunk_id, length
                continue
            (below, inner), kind, extra = cbor(self.read(generation, LIST, chunk_id))
            check_extra(extra)
            need(below == level - 1 and kind == leaves and sum(i[1] for i in inner) == length, "list")
            yield from self.items(generation, below, inner, leaves)

    def file(self, generation, content):
        for chunk_id, length in self.items(generation, *content, 1):
            data = bytes(length) if chunk_id is None else self.read(generation, DATA, chunk_id)
            need(len(data) == length, "length of a chunk")
            yield data

    def folder(self, generation, content):
        last = b""
        for chunk_id, length in self.items(generation, *content, 2):
            nodes, extra = cbor(self.read(generation, TREE, chunk_id))
            check_extra(extra)
            need(len(nodes) == length, "entries of a tree")
            for node in nodes:
                name = node[0]
                need(name > last and len(name) <= 1024 and name not in (b".", b"..") and b"/" not in name and b"\0" not in name, "name")
                check_extra(node[15])
                last = name
                yield node


def attributes(chunks, generation, node, target, inside):
    for name, value, content in node[13]:
        need((value is None) != (content is None), "an attribute with two values, or none")
        if value is None:
            need(all(item[0] is not None for item in content[1]), "a hole in an attribute")
            value = b"".join(chunks.file(generation, content))
        try:
            os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as error:
            print(f"left out: attribute {name!r} of {inside!r}: {error}", file=sys.stderr)


def restore(chunks, generation, content, place, macs, linked, path=b""):
    os.mkdir(place)
    for node in chunks.folder(generation, content):
        name, kind, mode, mtime, size = node[0], node[1], node[2], node[7], node[9]
        target, inside = os.path.join(place, name), path + b"/" + name if path else name
        pair = tuple(node[14]) if node[14] else None
        if pair in linked:
            os.link(linked[pair], target, follow_symlinks=False)
            continue
        if kind == FOLDER:
            restore(chunks, generation, node[10], target, macs, linked, inside)
        elif kind == SYMLINK:
            os.symlink(node[11], target)
        elif kind == FILE:
            stream, total = macs.get(inside, (None, 0))[0], 0
            with open(target, "xb") as out:
                for data in chunks.file(generation, node[10]):
                    out.write(data)
                    total += len(data)
                    if stream is not None:
                        stream.update(data)
            need(total == size, "size of a file")
        else:
            print(f"left out: {inside!r}", file=sys.stderr)
            continue
        if pair:
            linked[pair] = target
        attributes(chunks, generation, node, target, inside)
        if kind != SYMLINK:
            os.chmod(target, mode & 0o777)
        os.utime(target, ns=(mtime[0] * 10**9 + mtime[1],) * 2, follow_symlinks=False)


def main():
    parser = argparse.ArgumentParser(description="Restores from an esker repository.")
    parser.add_argument("repository", type=pathlib.Path)
    parser.add_argument("what", choices=["list", "restore"])
    parser.add_argument("sid", nargs="?")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--key-file", type=pathlib.Path)
    parser.add_argument("--recovery-key-file", type=pathlib.Path)
    parser.add_argument("--passphrase-file", type=pathlib.Path)
    given = parser.parse_args()
    root = owner_line(given.key_file.read_text()) if given.key_file else None
    if root is None:
        recovery = recovery_key(given.recovery_key_file.read_text()) if given.recovery_key_file else None
        passphrase = given.passphrase_file.read_bytes().rstrip(b"\r\n") if given.passphrase_file else None
        for path in sorted((given.repository / "keys").iterdir()):
            slot = path.read_bytes()
            need(blake3(slot).hexdigest() == path.name, "a keyslot that does not hash to its name")
            root = root or open_slot(slot, passphrase, recovery)
    need(root is not None, "no keyslot opens")
    owner = Owner(root)
    for path in sorted((given.repository / "snapshots").iterdir()):
        data = path.read_bytes()
        if data[9] != 3 or (given.sid and path.name != given.sid):
            continue
        generation, body = owner.body(data, 3)
        snapshot = cbor(body)
        need(len(snapshot) == 12 and snapshot[0].hex() == path.name, "a snapshot of another name")
        check_extra(snapshot[11])
        print(path.name, snapshot[1][0], snapshot[2], "incomplete" if snapshot[9] else "complete")
        if given.what == "restore" and given.sid:
            key = kdf("stream", owner.writer(generation))
            macs = {s[0]: (blake3(key=key), s) for source in snapshot[10] for s in source[6]}
            restore(Chunks(owner, given.repository), generation, snapshot[6], os.fsencode(given.folder), macs, {})
            for path, (running, (_, length, tag)) in macs.items():
                need(running.digest() == tag, f"the stream {path!r} is not what was saved")


if __name__ == "__main__":
    main()
