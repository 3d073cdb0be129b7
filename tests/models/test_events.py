import pytest

from penstock_server.flows.models.events import EVENT_BYTES_MAX, EventData, EventTooLarge

STREAM = "data: one\n\n: a comment\n\nevent: x\ndata:two\ndata: lines\n\nid: 3\ndata: 茶\r\n\r\ndata: cr\r\rdata: end"
WANTED = [b"one", b"two\nlines", "茶".encode(), b"cr", b"end"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_the_data_of_each_event_is_found_however_the_bytes_are_cut(size: int) -> None:
    data = STREAM.encode()
    decoder = EventData()
    found = [event for start in range(0, len(data), size) for event in decoder.feed(data[start : start + size])]
    assert [*found, *decoder.rest()] == WANTED


def test_a_stream_without_a_last_event_has_none() -> None:
    decoder = EventData()
    assert list(decoder.feed(b"data: one\n\n")) == [b"one"]
    assert list(decoder.rest()) == []


@pytest.mark.parametrize("line", [b"data: ", b"data: x\n"])
def test_an_event_that_does_not_end_is_refused(line: bytes) -> None:
    decoder = EventData()
    piece = line * (64 * 1024 // len(line))
    for _ in range(EVENT_BYTES_MAX // len(piece)):
        assert list(decoder.feed(piece)) == []
    with pytest.raises(EventTooLarge):
        list(decoder.feed(piece + piece))
