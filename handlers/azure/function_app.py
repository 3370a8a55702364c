"""The Azure Functions app: which trigger calls which function. A bundle's root has a shim that imports ``app``.

``host.json`` of the bundle sets an empty route prefix; ``watch`` is matched before the catch-all route. The queue is
the one to which jobs are sent, read from the same setting: two deployments in one account have two.
"""

from __future__ import annotations

import os

import azure.functions as func

from handlers.azure import main
from handlers.azure.queue import CONNECTION, queue_name

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


@app.function_name("ask")
@app.route(route="{*path}", auth_level=func.AuthLevel.ANONYMOUS)
def ask(req: func.HttpRequest) -> func.HttpResponse:
    return main.ask(req)


@app.function_name("watch")
@app.route(route="watch", methods=[func.HttpMethod.POST], auth_level=func.AuthLevel.FUNCTION)
def watch(req: func.HttpRequest) -> func.HttpResponse:
    return main.watch(req)


@app.function_name("work")
@app.queue_trigger(arg_name="message", queue_name=queue_name(os.environ.get("OMNI_QUEUE", "")), connection=CONNECTION)
def work(message: func.QueueMessage) -> None:
    main.work(message)
