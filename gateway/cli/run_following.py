"""A run on the terminal: its submission, a bar with the model's own text, and how to go on."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.cli.send_options import SendOptions
from gateway.cli.terminal import ShowTask, Terminal
from gateway.client import Answer, Client, InferenceRun, StreamedEvent
from gateway.client.errors import counted, one_line
from gateway.client.upload_body import Source
from gateway.dicom.reading.instances import Instance

PROGRAM = "python -m gateway"


def submit(
    order: SendOptions, request: dict[str, Any], files: Sequence[Source], screen: Terminal, client: Client
) -> InferenceRun:
    """Submit what ``send`` would send."""
    options: dict[str, Any] = {"id": order.run_id, "webhook": order.webhook, "timeout": order.patience}
    with screen.bar("sending", "submitting") as progress:
        if order.study_path:
            run = client.submit(None, order.route, request | {"studyPath": order.study_path}, **options)
        elif order.store:
            run = client.submit(client.upload(files, progress=progress), order.route, request, **options)
        else:
            options |= {"attachments": order.attachments, "progress": progress}
            run = client.submit(files, order.route, request, **options)
    screen.note(f"submitted {counted(len(files), 'file')} to {client.address} as the run {run.id}")
    return run


def detach(order: SendOptions, instances: list[Instance], screen: Terminal, client: Client | None) -> None:
    """Submit, and say how to go on."""
    files = [instance.source for instance in instances]
    with client or Client(order.url, timeout=order.patience, digest=order.digest) as connected:
        run = submit(order, order.request(instances), files, screen, connected)
    screen.say(f"run     {run.id}")
    screen.say(f"next    {command('wait', run, order.url)}")
    screen.say(f"        {command('result', run, order.url)} -o {shlex.quote(str(order.out))}")
    screen.tell(run.words)


def answer_of(run: InferenceRun, order: SendOptions, screen: Terminal) -> Answer:
    """Follow a run to its answer."""
    with going_on(run, order.url, screen):
        follow(run, screen)
        return run.answer()


@contextmanager
def going_on(run: InferenceRun, url: str, screen: Terminal) -> Iterator[None]:
    """Say how to find the run again where the user interrupts."""
    try:
        yield
    except KeyboardInterrupt:
        screen.note(f"the run goes on; wait for it with: {command('wait', run, url)}")
        raise


def follow(run: InferenceRun, screen: Terminal) -> None:
    """Show a run until it ends: its state, its progress and its lines."""
    with screen.task(doing(run)) as show:
        for event in run.events():
            if event.kind == "log":
                for line in str(event.data.get("text", "")).splitlines():
                    screen.note(line)
            elif event.kind in ("state", "progress"):
                _show(run, event, show)


def _show(run: InferenceRun, event: StreamedEvent, show: ShowTask) -> None:
    done, total = (event.data.get(name) for name in ("done", "total"))
    text = one_line(str(event.data.get("text") or "")) or doing(run)
    if event.kind == "progress" and isinstance(done, int | float) and isinstance(total, int | float):
        show(text, done, total)
    else:
        show(doing(run))


def doing(run: InferenceRun) -> str:
    """Return what a run does, for a person."""
    position = run.words.get("position")
    ahead = f", {counted(position, 'run')} before it" if isinstance(position, int) else ""
    return f"{run.state}{ahead}"


def command(action: str, run: InferenceRun, url: str) -> str:
    """Return the command line that goes on with a run."""
    return f"{PROGRAM} runs {action} {shlex.quote(run.id)} --host {shlex.quote(url)}"
