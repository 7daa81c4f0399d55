"""A client of Lectern on python-socketio, written from docs/protocol.md alone: join, chat, resume, errors."""

import asyncio
import json
import sys

import socketio


class Client:
    """One person; keeps what it is told."""

    def __init__(self, url, token):
        self.url = url
        self.token = token
        self.socket = socketio.AsyncClient(reconnection=False)
        self.lesson = []
        self.refused = None
        self.socket.on("lesson", lambda message: self.lesson.extend(message["events"]))
        self.socket.on("connect_error", self._refuse)

    def _refuse(self, reason):
        self.refused = reason.get("message") if isinstance(reason, dict) else reason

    async def connect(self):
        await self.socket.connect(
            self.url, auth={"token": self.token}, transports=["websocket"], wait_timeout=10
        )
        return self

    async def request(self, event, payload=None):
        return await self.socket.call(event, payload or {}, timeout=10)

    async def until(self, what, test):
        async def poll():
            while not test(self.lesson):
                await asyncio.sleep(0.02)

        try:
            await asyncio.wait_for(poll(), 10)
        except asyncio.TimeoutError:
            raise AssertionError(f"not within 10 s: {what}; {self.lesson}") from None


def kinds(kind, **fields):
    return lambda lesson: any(
        event["kind"] == kind and all(event.get(k) == v for k, v in fields.items()) for event in lesson
    )


async def main(url, tokens):
    teacher = await Client(url, tokens["teacher"]).connect()
    joined = (await teacher.request("join", {"version": 1}))["data"]
    assert joined["role"] == "teacher" and joined["resumed"] is False, joined
    assert joined["state"]["seq"] == joined["seq"], joined

    student = await Client(url, tokens["student"]).connect()
    session = (await student.request("join", {"version": 1}))["data"]
    assert session["participant"] == "student" and "raise-hand" in session["permissions"], session
    await teacher.until("the teacher sees the student", kinds("joined", participant="student"))

    said = await student.request("chat", {"text": "from Python, 蟒蛇", "nonce": "1"})
    await teacher.until("the teacher reads the chat", kinds("chat", text="from Python, 蟒蛇", by="student"))
    assert (await student.request("hand", {"raised": True})) == {"data": {}}
    await teacher.until("the teacher sees the hand", kinds("hand-raised", participant="student"))

    refused = await student.request("remove", {"participant": "teacher"})
    assert refused["error"]["code"] == "forbidden" and refused["error"]["message"], refused
    bad = await student.request("mute", {"source": "nose", "muted": True})
    assert bad["error"]["code"] == "bad-request", bad

    # The connection goes; the session resumes on another by its last number.
    await student.socket.disconnect()
    await teacher.request("chat", {"text": "meanwhile", "nonce": "2"})
    again = await Client(url, tokens["student"]).connect()
    resume = {"session": session["session"], "after": said["data"]["seq"]}
    resumed = (await again.request("join", {"version": 1, "resume": resume}))["data"]
    assert resumed["resumed"] is True, resumed
    seqs = [event["seq"] for event in resumed["events"]]
    assert seqs == list(range(resume["after"] + 1, resumed["seq"] + 1)), resumed
    assert kinds("chat", text="meanwhile")(resumed["events"]), resumed

    late = Client(url, tokens["expired"])
    try:
        await late.connect()
        raise AssertionError("an expired token was let in")
    except socketio.exceptions.ConnectionError as error:
        assert "token-expired" in (late.refused or str(error)), (late.refused, error)

    await again.request("leave")
    await teacher.until("the student left", kinds("left", participant="student", reason="left"))
    await teacher.socket.disconnect()
    print("python client: all passed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
