"""What nodes print."""

import asyncio
import sys

from penstock_server.flows.logs import NodeLog


def files(**nodes: str) -> dict[str, str]:
    listed = "".join(f"- {{name: {n}, type: python, source: {{type: code, path: {n}.py}}}}\n" for n in nodes)
    sources = {
        f"{n}.py": f"import sys, time, asyncio\nfrom penstock.flow import tool\n@tool\n{s}" for n, s in nodes.items()
    }
    return {"flow.dag.yaml": f"nodes:\n{listed}", **sources}


async def test_each_node_keeps_what_it_printed_itself(load_folder, run, recorder, capsys):
    flow = load_folder(
        files(
            a="def a():\n    for _ in range(20):\n        print('a')\n        time.sleep(0.001)\n",
            b="async def b():\n    for _ in range(20):\n        print('b', file=sys.stderr)\n"
            "        await asyncio.sleep(0.001)\n",
            c="def c():\n    print('c1')\n    yield 1\n    print('c2', end='')\n",
            d="def d():\n    pass\n",
        )
    )
    print("before")
    await run(flow, recorder)
    print("after")
    logs = {name: record.logs for name, record in recorder.records.items()}
    assert logs == {"a": "a\n" * 20, "b": "b\n" * 20, "c": "c1\nc2", "d": ""}
    out, err = capsys.readouterr()
    assert sorted(out) == sorted("before\n" + "a\n" * 20 + "c1\nc2" + "after\n"), "the real stream gets it too"
    assert err == "b\n" * 20


async def test_runs_at_the_same_time_keep_their_logs_apart(load_folder, make_recorder):
    flow = load_folder(
        {
            "flow.dag.yaml": "inputs: {n: {type: int}}\nnodes:\n"
            "- {name: a, type: python, source: {type: code, path: a.py}, inputs: {n: '${inputs.n}'}}\n",
            "a.py": "import time\nfrom penstock.flow import tool\n@tool\ndef a(n):\n    for _ in range(5):\n"
            "        print(n)\n        time.sleep(0.001)\n",
        }
    )
    recorders = [make_recorder() for _ in range(10)]
    await asyncio.gather(*(flow.execute({"n": number}, recorder) for number, recorder in enumerate(recorders)))
    assert [recorder.records["a"].logs for recorder in recorders] == [f"{number}\n" * 5 for number in range(10)]


async def test_what_is_printed_after_the_end_of_a_node_is_not_kept(load_folder, run, recorder, capsys):
    flow = load_folder(
        files(
            a="async def a():\n    async def later():\n        await asyncio.sleep(0.02)\n        print('late')\n"
            "    a.task = asyncio.create_task(later())\n    print('now')\n"
        )
    )
    await run(flow, recorder)
    await asyncio.sleep(0.1)
    assert recorder.records["a"].logs == "now\n"
    assert capsys.readouterr().out == "now\nlate\n"


async def test_logs_are_bounded_in_bytes(load_folder, run, recorder):
    flow = load_folder(files(a="def a():\n    for _ in range(1000):\n        print('é' * 10)\n"), node_log_bytes_max=50)
    await run(flow, recorder)
    assert recorder.records["a"].logs == "é" * 10 + "\n" + "é" * 10 + "\n" + "é" * 4 + "\n… the rest is not kept\n"


def test_a_log_is_cut_between_characters():
    log = NodeLog(3)
    log.write("éé")
    log.write("x")
    assert log.close() == "é\n… the rest is not kept\n"


async def test_a_stream_that_leads_to_ours_does_not_keep_things_twice(load_folder, run, recorder, monkeypatch, capsys):
    class Wrapper:
        def __init__(self, stream):
            self.stream = stream

        def write(self, text):
            return self.stream.write(text)

        def flush(self):
            self.stream.flush()

    flow = load_folder(files(a="def a():\n    print('x')\n"))
    await run(flow)
    monkeypatch.setattr(sys, "stdout", Wrapper(sys.stdout))
    await run(flow, recorder)
    assert recorder.records["a"].logs == "x\n"
    assert capsys.readouterr().out == "x\nx\n"
