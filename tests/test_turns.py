"""Large transfers take turns: what one turn of the loop moves is bounded, and nobody is passed over."""

from __future__ import annotations

import asyncio

import uvloop

from asbru.turns import PER_TURN, PIECE_BYTES, Reading, Turns, Upload, turns_of


class Socket(asyncio.Transport):
    """A transport that keeps what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []
        self.reading = True
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        assert not self.closing
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(len(data))


async def turn() -> None:
    """One turn of the loop."""
    await asyncio.sleep(0)


def test_a_turn_of_the_loop_grants_few_and_in_order() -> None:
    async def main() -> None:
        turns = Turns(asyncio.get_running_loop())
        granted: list[int] = []
        for number in range(7):
            turns.later(lambda number=number: granted.append(number))  # type: ignore[misc]
        assert granted == []
        for turns_taken in (1, 2, 3, 4):
            await turn()
            assert granted == list(range(min(7, turns_taken * PER_TURN)))
        turns.later(lambda: granted.append(7))
        await turn()
        assert granted[-1] == 7

    uvloop.run(main())


def test_all_of_a_loop_share_one_queue() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert turns_of(loop) is turns_of(loop)

    uvloop.run(main())


def test_a_large_body_is_written_in_pieces_beside_others() -> None:
    async def main() -> None:
        turns = turns_of(asyncio.get_running_loop())
        sockets = [Socket() for _ in range(10)]
        uploads = [Upload(socket, turns, b"x" * (3 * PIECE_BYTES + 1), lambda: None) for socket in sockets]
        for upload in uploads:
            upload.go_on()
        written = sum(len(socket.pieces) for socket in sockets)
        while any(upload.rest for upload in uploads):
            await turn()
            now = sum(len(socket.pieces) for socket in sockets)
            assert now - written <= PER_TURN
            written = now
            counts = {len(socket.pieces) for socket in sockets}
            assert max(counts) - min(counts) <= 1, "one is served before another"
        assert all(socket.pieces == [PIECE_BYTES] * 3 + [1] for socket in sockets)
        assert all(upload.rest is None for upload in uploads), "a body that is written is held"

    uvloop.run(main())


def test_an_upload_waits_for_room_and_can_be_stopped() -> None:
    async def main() -> None:
        socket = Socket()
        upload = Upload(socket, turns_of(asyncio.get_running_loop()), b"x" * (3 * PIECE_BYTES), lambda: None)
        upload.full = True
        upload.go_on()
        await turn()
        assert socket.pieces == []
        upload.resume()
        await turn()
        assert socket.pieces == [PIECE_BYTES]
        upload.stop()
        await turn()
        await turn()
        assert socket.pieces == [PIECE_BYTES]

    uvloop.run(main())


def test_reading_goes_on_when_there_is_room_and_it_is_ones_turn() -> None:
    async def main() -> None:
        socket = Socket()
        reading = Reading(socket, turns_of(asyncio.get_running_loop()))
        reading.let_others()
        reading.let_others()
        assert not socket.reading
        await turn()
        assert socket.reading

        reading.let_others()
        reading.pause()
        await turn()
        assert not socket.reading, "there is no room"
        reading.resume()
        assert socket.reading

        reading.pause()
        reading.let_others()
        reading.resume()
        assert not socket.reading, "it is not its turn"
        await turn()
        assert socket.reading

        reading.let_others()
        socket.closing = True
        await turn()
        assert not socket.reading

    uvloop.run(main())
