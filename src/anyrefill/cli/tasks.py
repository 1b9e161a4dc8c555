"""`anyrefill tasks`."""

import json
from dataclasses import dataclass

__all__ = ["ListTasks", "list_tasks"]


@dataclass(frozen=True, kw_only=True)
class ListTasks:
    """List the tasks."""

    json: bool = False
    """Print everything about them as JSON."""


def list_tasks(options: ListTasks) -> None:
    """Print names and summaries; [ready] marks those that need no training first."""
    from anyrefill import tasks
    from anyrefill.backbone.embedded import shipped

    found, ready = [tasks.get(name) for name in tasks.names()], shipped()
    if not options.json:
        for task in found:
            print(f"{task.name:18} {task.summary}{' [ready]' if task.name in ready else ''}")
        return
    facts = [
        {
            "name": task.name,
            "summary": task.summary,
            "prompt": task.prompt,
            "caption_required": task.caption_required,
            "makes_pairs": task.make is not None,
            "metrics": [metric.__name__ for metric in task.metrics],
            "ready": task.name in ready,
        }
        for task in found
    ]
    print(json.dumps(facts, indent=2))
