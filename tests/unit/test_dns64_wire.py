"""The wire code against dnslib, and against bytes that are no messages."""

import contextlib

import pytest
from dnslib import QTYPE, RD, RR, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from dns64.edns import EDE_OPTION, ExtendedError, opt_bytes, read_opt
from dns64.errors import Dns64Error, MalformedError
from dns64.names import from_labels, from_text, is_under, labels, read_name, replace_suffix, to_text
from dns64.query import Query, Refusal, read_query
from dns64.reply import Reply, passed, render
from dns64.wire import IN, OPT, Message, Question, Record, build, layout, parse

LABELS = st.binary(min_size=1, max_size=63)
NAMES = st.lists(LABELS, max_size=5).filter(lambda p: sum(len(x) + 1 for x in p) < 255)
PLAIN_LABELS = st.sampled_from([b"a", b"ex", b"A", b"host", b"mail", b"x" * 63])
PLAIN_NAMES = st.lists(PLAIN_LABELS, max_size=3).map(from_labels)
KINDS_WITH_NAMES = (2, 5, 6, 12, 15, 33, 39)


def name_data(kind: int, names: list[bytes]) -> bytes:
    first, second = names[0], names[1]
    return {
        6: first + second + bytes(20),
        15: b"\0\5" + first,
        33: b"\0\1\0\2\0\3" + first,
    }.get(kind, first)


@st.composite
def records(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from((1, 16, 28, 46, 65280, *KINDS_WITH_NAMES)))
    if kind in KINDS_WITH_NAMES:
        data = name_data(kind, draw(st.lists(PLAIN_NAMES, min_size=2, max_size=2)))
    else:
        data = draw(st.binary(min_size=1, max_size=40))
    return Record(draw(PLAIN_NAMES), kind, IN, draw(st.integers(0, 2**31 - 1)), data)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    sections = [tuple(draw(st.lists(records(), max_size=4))) for _ in range(3)]
    return Message(
        draw(st.integers(0, 0xFFFF)),
        draw(st.integers(0, 0xFFFF)),
        Question(draw(PLAIN_NAMES), draw(st.integers(1, 0xFFFF))),
        *sections,
    )


@given(messages())
def test_what_is_built_is_read_back(message: Message) -> None:
    wire = build(message)
    assert parse(wire) == message
    found = layout(wire)
    assert found.question == message.question
    assert [int.from_bytes(wire[at : at + 4], "big") for at in found.ttls] == [
        record.ttl for record in message.answer + message.authority + message.additional
    ]


@given(messages())
def test_dnslib_reads_the_same(message: Message) -> None:
    plain = [
        record
        for record in message.answer
        if record.type in (1, 28, 2, 5, 12, 15) and (record.type != 1 or len(record.data) == 4)
    ]
    plain = [record for record in plain if record.type != 28 or len(record.data) == 16]
    ours = Message(message.id, message.flags, message.question, tuple(plain))
    theirs = DNSRecord.parse(build(ours))
    assert theirs.header.id == message.id
    assert theirs.q.qtype == message.question.type if message.question else False
    assert [(b"".join(_wire(r.rname.label)), r.rtype, r.ttl) for r in theirs.rr] == [
        (record.name, record.type, record.ttl) for record in plain
    ]
    for record, read in zip(plain, theirs.rr, strict=True):
        if record.type in (2, 5, 12):
            assert b"".join(_wire(read.rdata.label.label)) == record.data
        elif record.type == 15:
            assert b"".join(_wire(read.rdata.label.label)) == record.data[2:]
        else:
            assert bytes(read.rdata.data) == record.data


def _wire(parts: tuple[bytes, ...]) -> list[bytes]:
    return [*(bytes((len(part),)) + part for part in parts), b"\0"]


@given(st.lists(st.tuples(PLAIN_NAMES, PLAIN_NAMES), min_size=1, max_size=6))
def test_what_dnslib_compresses_is_expanded(pairs: list[tuple[bytes, bytes]]) -> None:
    theirs = DNSRecord.question("a.host.ex").reply()
    for owner, target in pairs:
        theirs.add_answer(RR(labels(owner), QTYPE.CNAME, rdata=_cname(target), ttl=9))
    read = parse(bytes(theirs.pack()))
    assert [(r.name.lower(), r.data.lower()) for r in read.answer] == [
        (owner.lower(), target.lower()) for owner, target in pairs
    ]


def _cname(target: bytes) -> RD:
    from dnslib import CNAME

    return CNAME(labels(target))


@given(NAMES)
def test_names_as_text(parts: list[bytes]) -> None:
    name = from_labels(parts)
    assert from_text(to_text(name)) == name
    assert labels(name) == parts
    assert read_name(bytes(12) + name, 12) == (name, 12 + len(name))


@given(NAMES, st.integers(0, 5))
def test_is_under_goes_by_labels(parts: list[bytes], cut: int) -> None:
    name, zone = from_labels(parts), from_labels(parts[cut:])
    assert is_under(name, zone)
    assert replace_suffix(name, zone, zone) == name
    assert not is_under(from_text("xex"), from_text("ex"))
    assert not is_under(b"\3a\2ex\0", b"\2ex\0")


POINTERS = {
    "itself": b"\xc0\x0c",
    "forward": b"\xc0\xff",
    "next": b"\x01a\xc0\x0e",
    "header": b"\xc0\x00",
    "cut": b"\xc0",
    "label-cut": b"\x05ab",
    "no-end": b"\x01a\x01b",
    "reserved-40": b"\x41a\0",
    "reserved-80": b"\x81a\0",
    "too-long": (b"\x3f" + b"x" * 63) * 4 + b"\0",
}


@pytest.mark.parametrize("name", POINTERS.values(), ids=POINTERS.keys())
def test_bad_names(name: bytes) -> None:
    wire = b"\0\1\1\0\0\1\0\0\0\0\0\0" + name
    with pytest.raises(MalformedError):
        parse(wire)
    with pytest.raises(MalformedError):
        layout(wire)
    assert isinstance(read_query(wire + bytes(4)) or Refusal(0, 0, 0), Refusal)


def test_two_pointers_that_name_each_other() -> None:
    wire = b"\0\1\x80\0\0\0\0\1\0\0\0\0" + b"\xc0\x0e\xc0\x0c" + bytes(10)
    with pytest.raises(MalformedError):
        parse(wire)


@given(st.binary(max_size=600))
def test_any_bytes(data: bytes) -> None:
    """Nothing but the package's own exception, ever."""
    for read in (parse, layout):
        with contextlib.suppress(Dns64Error):
            read(data)
    found = read_query(data)
    assert (found is None) == (len(data) < 12 or bool(data[2] & 0x80))


@given(messages(), st.data())
def test_broken_messages(message: Message, data: st.DataObject) -> None:
    """One octet changed, or cut anywhere: an error or a message, and both readers agree."""
    wire = bytearray(build(message))
    at = data.draw(st.integers(0, len(wire) - 1))
    wire[at] = data.draw(st.integers(0, 255))
    broken = bytes(wire[: data.draw(st.integers(0, len(wire)))])
    with contextlib.suppress(Dns64Error):
        whole = parse(broken)
        if all(r.type != OPT for r in whole.answer + whole.authority + whole.additional):
            layout(broken)


@given(messages(), st.booleans(), st.integers(0, 4095), st.binary(max_size=30))
def test_opt_record_is_put_on_and_taken_off(
    message: Message, do: bool, rcode: int, text: bytes
) -> None:
    bare = build(message)
    opt = opt_bytes(1232, do, rcode, (ExtendedError(29, text),))
    more = int.from_bytes(bare[10:12], "big") + 1
    wire = bare[:10] + more.to_bytes(2, "big") + bare[12:] + opt
    found = layout(wire)
    assert found.opt is not None
    read = read_opt(wire, found.opt)
    assert (read.udp_size, read.do, read.rcode_high) == (1232, do, rcode >> 4)
    assert read.errors == (ExtendedError(29, text),)
    assert read.options == ((EDE_OPTION, b"\0\x1d" + text),)
    assert message.question is not None
    assert passed(Reply(wire, found), message.question).body == bare


def _lower(record: Record) -> tuple[bytes, int, int, bytes]:
    return record.name.lower(), record.type, record.ttl, record.data.lower()


@given(messages(), st.integers(12, 1500))
def test_rendered_answers_fit(message: Message, limit: int) -> None:
    assert message.question is not None
    wire = build(message)
    answer = passed(Reply(wire, layout(wire)), message.question)
    name = message.question.name.swapcase()
    query = Query(4711, Question(name, message.question.type))
    out = render(answer, query, 1232, limit)
    assert out[:2] == b"\x12\x67"
    read = parse(out)
    assert read.question == query.question
    if len(wire) <= limit:
        # Names that pointed to the question are spelt as this client spelt it.
        assert [_lower(r) for r in read.answer] == [_lower(r) for r in message.answer]
        assert len(out) == len(wire)
    else:
        assert out[2] & 2 and not read.answer
        assert len(out) <= max(limit, 12 + len(query.question.wire))


def test_class_and_opt_record_of_a_query() -> None:
    wire = build(Message(7, 0x0110, Question(from_text("a.ex"), 28)))
    query = read_query(wire[:11] + b"\1" + wire[12:] + opt_bytes(4096, True, 0))
    assert isinstance(query, Query)
    assert (query.rd, query.cd, query.do, query.opt and query.opt.udp_size) == (
        True,
        True,
        True,
        4096,
    )
