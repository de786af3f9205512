"""Spans of requests, as a receiver of OpenTelemetry gets them."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from serving_runtime.http.request_head import TraceContext
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.observability.sampling import decision
from serving_runtime.observability.span_export import pause
from serving_runtime.observability.spans import rpc_span
from testbed.held_calls import held_calls
from testbed.infer_messages import message_of
from testbed.otlp_receiver import OtlpReceiver, ReceivedSpan, otlp_receiver
from testbed.processes import completed, free_port
from testbed.rpc_client import INFER, rpc_client
from testbed.runtime_server import LIBRARIES, Answer, RuntimeServer, serving
from tests.serving_runtime.server.test_observability import numbers

Start = Callable[..., RuntimeServer]
SERVER, INTERNAL = 2, 1  # kinds of spans
UNSET, ERROR = 0, 2
FAILED = "model_api_runtime_traced_requests_total[('outcome', 'failed')]"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
REQUESTS = {
    "/invocations": {"inputs": {"x": [1.0, 2.0]}},
    "/v2/models/wine/infer": {"inputs": [{"name": "x", "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]}]},
    "/v1/models/wine:predict": {"instances": [{"x": 1.0}, {"x": 2.0}]},
    "/model": {"data": {"x": [1.0, 2.0]}},
}
ROUTES = {
    "/invocations": ("/invocations", "invocations"),
    "/v2/models/wine/infer": ("/v2/models/{model}/infer", "v2"),
    "/v1/models/wine:predict": ("/v1/models/{model}:predict", "v1"),
    "/model": ("/model", "domino"),
}


def variables(receiver: OtlpReceiver, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "MLFLOW_MODEL_NAME": "wine",
        "MLFLOW_MODEL_VERSION": "7",
        **more,
    }


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    receiver: OtlpReceiver, hard_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RuntimeServer]:
    log = tmp_path_factory.mktemp("traced") / "log"
    environ = variables(receiver)
    with serving(hard_models / "patient", "--workers", "1", log=log, environ=environ, grpc=True) as server:
        yield server


def trace_of(answer: Answer) -> str:
    return answer.headers["traceresponse"].split("-")[1]


def spans_of(receiver: OtlpReceiver, trace: str, count: int = 4) -> dict[str, ReceivedSpan]:
    """Return the spans of a trace by their names, the request's own as `request`, once there are so many."""
    found = receiver.awaited(trace, count)
    return {"request" if span.kind == SERVER else name: span for name, span in found.items()}


def post(server: RuntimeServer, document: Any, *headers: tuple[str, str], path: str = "/invocations") -> Answer:
    """Send a request whose headers may come twice."""
    client = server.client()
    body = json.dumps(document).encode()
    client.putrequest("POST", path)
    for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers):
        client.putheader(name, value)
    client.endheaders(body)
    response = client.getresponse()
    answer = Answer(
        status=response.status,
        headers={name.lower(): value for name, value in response.getheaders()},
        body=response.read(),
    )
    client.close()
    return answer


@pytest.mark.parametrize("path", REQUESTS)
def test_request_of_each_protocol_has_its_steps_below_it(
    traced: RuntimeServer, receiver: OtlpReceiver, path: str
) -> None:
    before = time.time_ns()
    answer = post(traced, REQUESTS[path], path=f"{path}?key=in-the-query")
    spans = spans_of(receiver, trace_of(answer))
    after = time.time_ns()
    request, wait, predict, write = (spans[name] for name in ("request", "wait", "predict", "write"))
    route, protocol = ROUTES[path]

    assert answer.status == 200, answer.body
    assert (request.name, request.kind, request.parent, request.status) == (f"POST {route}", SERVER, "", UNSET)
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": route,
        "url.path": path,
        "url.scheme": "http",
        "http.response.status_code": 200,
        "model_api.protocol": protocol,
        "model_api.rows": 2,
        "model_api.model.name": "wine",
        "model_api.model.version": "7",
    }
    assert {span.parent for span in (wait, predict, write)} == {request.span_id}
    assert {span.kind for span in (wait, predict, write)} == {INTERNAL}
    assert predict.attributes == {"model_api.batch.requests": 1, "model_api.batch.rows": 2}
    milliseconds = 1_000_000
    assert before - milliseconds <= request.start
    steps = [request.start, wait.start, wait.end, predict.start, predict.end, write.start, write.end, request.end]
    rounding = 1000  # the clock's double has some 256 ns
    assert all(one <= other + rounding for one, other in pairwise(steps))
    assert request.end <= after + milliseconds
    assert request.resource["service.name"] == "wine"
    timings = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert (predict.end - predict.start) / 1e6 == pytest.approx(float(timings["predict"]), abs=0.01)


def test_call_of_grpc_has_its_steps_below_it(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    body = message_of(REQUESTS["/v2/models/wine/infer"], raw=True, model="wine").SerializeToString()
    with rpc_client(traced.grpc_port) as client:
        answers = [client.call(INFER, body), client.call(INFER, b"\xff"), client.call("/no.Such/Method", body)]
    traces = [answer.metadata["traceresponse"].split("-")[1] for answer in answers]
    spans = spans_of(receiver, traces[0])
    refused, unknown = (spans_of(receiver, trace, count=1)["request"] for trace in traces[1:])

    assert spans["request"].name == "inference.GRPCInferenceService/ModelInfer"
    assert spans["request"].attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "model_api.protocol": "grpc",
        "model_api.rows": 2,
        "model_api.model.name": "wine",
        "model_api.model.version": "7",
    }
    assert {spans[name].parent for name in ("wait", "predict", "write")} == {spans["request"].span_id}
    assert (refused.attributes["rpc.response.status_code"], refused.status) == ("INVALID_ARGUMENT", UNSET)
    assert (unknown.attributes["rpc.response.status_code"], unknown.status) == ("UNIMPLEMENTED", ERROR)


def test_trace_goes_on_from_the_caller_and_is_in_the_log(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    state = "vendor=opaque,other=1"
    headers = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", state), ("X-Request-ID", "mine"))
    answer = post(traced, REQUESTS["/invocations"], *headers)
    spans = spans_of(receiver, TRACE)

    assert answer.headers["traceresponse"] == f"00-{TRACE}-{spans['request'].span_id}-01"
    assert (spans["request"].parent, spans["request"].state) == (SPAN, state)
    assert spans["request"].attributes["model_api.request_id"] == "mine"
    (line,) = traced.awaited(lambda line: line.get("request_id") == "mine")
    assert line["trace_id"] == TRACE


def test_trace_of_a_request_without_a_caller_is_its_id(traced: RuntimeServer) -> None:
    answer = post(traced, REQUESTS["/invocations"])

    assert trace_of(answer) == answer.headers["x-request-id"]


GARBAGE = {
    "no trace": [("traceparent", "garbage")],
    "a trace of zeros": [("traceparent", f"00-{'0' * 32}-{SPAN}-01")],
    "a span of zeros": [("traceparent", f"00-{TRACE}-{'0' * 16}-01")],
    "10,000 characters": [("traceparent", f"00-{TRACE}-{SPAN}-01-{'a' * 10_000}")],
    "two traces": [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("traceparent", f"00-{TRACE}-{SPAN}-01")],
    "capitals": [("traceparent", f"00-{TRACE.upper()}-{SPAN}-01")],
    "no ASCII": [("traceparent", "00-é-01")],
    "a version that cannot be": [("traceparent", f"ff-{TRACE}-{SPAN}-01")],
    "an empty one": [("traceparent", "")],
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_header_that_lies_begins_a_new_trace(traced: RuntimeServer, receiver: OtlpReceiver, kind: str) -> None:
    answer = post(traced, REQUESTS["/invocations"], *GARBAGE[kind])

    assert (answer.status, answer.document) == (200, {"predictions": [2.0, 4.0]})
    assert trace_of(answer) not in {TRACE, "0" * 32}
    assert spans_of(receiver, trace_of(answer))["request"].parent == ""


STATES = {
    "garbage": (["=,=;é"], ""),
    "10,000 characters": ([f"vendor={'a' * 10_000}"], ""),
    "several headers": (["vendor=1", "other=2"], "vendor=1,other=2"),
    "a good and a bad member": (["vendor=1,BAD KEY=2"], ""),
}


@pytest.mark.parametrize("kind", STATES)
def test_state_that_lies_is_left_out(traced: RuntimeServer, receiver: OtlpReceiver, kind: str) -> None:
    given, kept = STATES[kind]
    trace = f"{hash(kind) & (2**64 - 1):032x}"
    headers = [("traceparent", f"00-{trace}-{SPAN}-01"), *(("tracestate", value) for value in given)]

    assert post(traced, REQUESTS["/invocations"], *headers).status == 200
    assert spans_of(receiver, trace)["request"].state == kept
    assert not any("vendor" in json.dumps(line) for line in traced.lines())


def test_trace_that_the_caller_does_not_sample_has_no_spans(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    trace = "1" * 32
    answer = post(traced, REQUESTS["/invocations"], ("traceparent", f"00-{trace}-{SPAN}-00"))
    spans_of(receiver, trace_of(post(traced, REQUESTS["/invocations"])))

    assert answer.status == 200
    assert receiver.of_trace(trace) == {}


def test_requests_of_one_call_have_a_span_each_that_links_to_the_first(
    traced: RuntimeServer, receiver: OtlpReceiver
) -> None:
    with ThreadPoolExecutor(6) as clients, held_calls() as held:
        first = clients.submit(traced.predict, {"inputs": {"x": [held.port]}})
        held.wait_for_call()
        others = [clients.submit(traced.predict, {"inputs": {"x": [float(number)]}}) for number in range(5)]
        traced.wait_until_inflight(6)
        let_go = time.time_ns()
        held.let_go()
        assert first.result().status == 200
        spans = [spans_of(receiver, trace_of(other.result())) for other in others]
    predicts = [each["predict"] for each in spans]
    calls = {span.start: span.attributes["model_api.batch.requests"] for span in predicts}
    leaders = [span for span in predicts if not span.links]

    assert list(calls.values()) == [5]
    assert len(leaders) == 1
    assert {link for span in predicts for link in span.links} == {(span.trace_id, span.span_id) for span in leaders}
    assert all(each["wait"].start < let_go < each["wait"].end for each in spans)


def test_failure_of_the_model_marks_both_spans(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    answer = post(traced, {"inputs": {"x": [-1.0]}})
    spans = spans_of(receiver, trace_of(answer), 3)

    assert answer.status == 500
    assert (spans["request"].status, spans["request"].attributes["error.type"]) == (ERROR, "500")
    assert (spans["predict"].status, spans["predict"].attributes["error.type"]) == (ERROR, "PredictionError")
    assert "write" not in spans


def test_refusal_is_no_failure_of_the_server(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    answer = post(traced, {"inputs": {"x": ["a text"]}})
    spans = spans_of(receiver, trace_of(answer), 1)

    assert answer.status == 400
    assert list(spans) == ["request"]
    assert (spans["request"].status, spans["request"].attributes["http.response.status_code"]) == (UNSET, 400)


def test_request_whose_time_ends_has_waited(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    with ThreadPoolExecutor(1) as clients, held_calls() as held:
        first = clients.submit(traced.predict, {"inputs": {"x": [held.port]}})
        held.wait_for_call()
        answer = post(traced, {"inputs": {"x": [1.0]}}, ("X-Request-Timeout-Ms", "200"))
        held.let_go()
        assert first.result().status == 200
    spans = spans_of(receiver, trace_of(answer), 2)

    assert answer.status == 504
    assert set(spans) == {"request", "wait"}
    assert spans["request"].attributes["error.type"] == "504"


def test_client_that_leaves_marks_its_span(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    trace = "2" * 32
    with held_calls() as held, traced.connect() as client:
        body = json.dumps({"inputs": {"x": [held.port]}}).encode()
        head = f"POST /invocations HTTP/1.1\r\nHost: a\r\ntraceparent: 00-{trace}-{SPAN}-01\r\n"
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        held.wait_for_call()
        client.close()
        request = spans_of(receiver, trace, 2)["request"]

    assert (request.status, request.attributes["error.type"]) == (ERROR, "client_left")
    assert "http.response.status_code" not in request.attributes


def test_spans_have_nothing_of_headers_and_body(traced: RuntimeServer, receiver: OtlpReceiver) -> None:
    headers = (("Authorization", "Bearer hunter2"), ("Cookie", "hunter2"), ("User-Agent", "hunter2"))
    answer = post(traced, {"inputs": {"x": [41.25]}}, *headers, path="/invocations?token=hunter2")
    spans_of(receiver, trace_of(answer))

    assert answer.status == 200
    assert not any(secret in repr(span) for span in receiver.spans for secret in ("hunter2", "41.25", "82.5", "a text"))


def test_probes_and_pages_have_no_spans_and_unknown_paths_have_no_route(
    traced: RuntimeServer, receiver: OtlpReceiver
) -> None:
    for path in ("/readyz", "/metrics", "/info", "/v2/health/live"):
        assert "traceresponse" not in traced.get(path).headers
    spans = spans_of(receiver, trace_of(traced.ask("PROPFIND", "/pot")), 1)

    assert spans["request"].name == "HTTP"
    assert spans["request"].attributes["http.request.method_original"] == "PROPFIND"
    assert not any(span.attributes.get("url.path") in {"/readyz", "/info"} for span in receiver.spans)


def test_code_of_the_model_is_in_the_trace_if_it_is_sampled(
    start: Start, hard_models: Path, receiver: OtlpReceiver
) -> None:
    environ = variables(receiver, OTEL_TRACES_SAMPLER="parentbased_always_off", OTEL_SERVICE_NAME="caller")
    server = start(hard_models / "caller", "--workers", "1", environ=environ)
    server.wait_until_ready()
    chat = {"messages": [{"role": "user", "content": "hello"}]}

    by_call, by_stream = "3" * 32, "4" * 32
    answer = post(server, chat, ("traceparent", f"00-{by_call}-{SPAN}-01"), ("tracestate", "vendor=1"))
    spans = spans_of(receiver, by_call, 5)
    assert answer.document["tracestate"] == "vendor=1"
    assert answer.document["traceparent"] == f"00-{by_call}-{spans['lookup'].span_id}-01"
    assert spans["lookup"].parent == spans["predict"].span_id
    assert spans["request"].resource["service.name"] == "caller"

    failing = {"messages": [{"role": "user", "content": "fail later"}], "stream": True}
    streamed = post(server, failing, ("traceparent", f"00-{by_stream}-{SPAN}-01"))
    spans = spans_of(receiver, by_stream, 3)
    assert by_stream in streamed.body.decode()
    assert spans["lookup"].parent == spans["predict"].span_id
    assert (spans["predict"].status, spans["predict"].attributes["error.type"]) == (ERROR, "PredictionError")

    unsampled = post(server, chat)
    assert "traceresponse" not in unsampled.headers
    assert unsampled.document["traceparent"].endswith("-00")
    passed_on = post(server, chat, ("traceparent", f"00-{TRACE}-{SPAN}-00"), ("tracestate", "vendor=1")).document
    _, trace, span, flags = passed_on["traceparent"].split("-")
    assert (trace, flags, passed_on["tracestate"]) == (TRACE, "00", "vendor=1")
    assert span not in {SPAN, "0" * 16}


def test_receiver_that_is_away_holds_no_answer_and_is_told_once(start: Start, hard_models: Path) -> None:
    port = free_port()
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=hunter2,hunter2",
    }
    server = start(hard_models / "patient", "--workers", "1", environ=environ)
    server.wait_until_ready()
    for _ in range(2):
        failed = numbers(server).get(FAILED, 0)
        assert server.predict(REQUESTS["/invocations"]).status == 200
        server.wait_until(lambda failed=failed: numbers(server).get(FAILED, 0) > failed)  # type: ignore[misc]
    with otlp_receiver(port) as receiver:
        server.wait_until(lambda: server.predict(REQUESTS["/invocations"]).status == 200 and bool(receiver.spans))
        server.awaited(lambda line: line["message"] == "spans are sent again")
        last = server.predict(REQUESTS["/invocations"])
        server.ask_to_end()
        assert server.exit_code() == 0
        assert trace_of(last) in {span.trace_id for span in receiver.spans}

    lines = [line for line in server.lines() if line["logger"] != "serving_runtime.access"]
    assert [line["level"] for line in lines if "spans are not sent" in line["message"]] == ["warning"]
    assert "hunter2" not in server.process.log.read_text()
    assert not [line for line in lines if line["logger"].startswith("opentelemetry")]


def test_receiver_that_never_answers_holds_no_end(start: Start, hard_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environ = {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "3600",
        }
        # The supervisor would end a worker that is held 2 s after that time.
        server = start(hard_models / "patient", "--workers", "1", "--stop-timeout", "3600", environ=environ)
        server.wait_until_ready()
        assert server.predict(REQUESTS["/invocations"]).status == 200
        server.ask_to_end()

        assert server.exit_code() == 0


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "console"}, False),
    ],
)
def test_spans_are_made_if_the_variables_name_a_receiver(environ: dict[str, str], wanted: bool, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, serving_runtime.process.supervisor\n"
        "from serving_runtime.observability.metrics import Metrics, new_shared_metrics\n"
        "from serving_runtime.observability.tracing import new_tracer\n"
        "tracer = new_tracer(os.environ, {'name': 'wine'}, Metrics(new_shared_metrics(1), 0), 1.0)\n"
        "print(tracer is not None, any(name.partition('.')[0] == 'opentelemetry' for name in sys.modules))"
    )
    done = completed([sys.executable, program], env=environ, imported=LIBRARIES)

    assert done.stdout.split() == [str(wanted), str(wanted)], done.stderr


@pytest.mark.parametrize(
    ("environ", "block", "reason"),
    [
        ({}, "opentelemetry.exporter", "install the extra tracing"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "none", "spans are sent by http/protobuf only"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "none", "spans are sent by http/protobuf only"),
    ],
)
def test_spans_that_cannot_be_sent_are_told_and_the_model_is_served(
    environ: dict[str, str], block: str, reason: str
) -> None:
    code = (
        f"import os, sys; sys.modules[{block!r}] = None\n"
        "from serving_runtime.observability import tracing\n"
        "tracing.warn(os.environ); print(tracing.problem(os.environ))\n"
        "assert tracing.new_tracer(os.environ, {}, None, 1.0) is None"
    )
    environ = environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert reason in done.stdout
    assert done.stderr == "no spans are made\n"


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ([f"00-{TRACE}-{SPAN}-00"], (TRACE, SPAN, False)),
        ([f"00-{TRACE}-{SPAN}-03"], (TRACE, SPAN, True)),
        ([f"cc-{TRACE}-{SPAN}-01-of-later"], (TRACE, SPAN, True)),
        ([f"00-{TRACE}-{SPAN}-01-of-later"], None),
        ([f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"], None),
        ([f" 00-{TRACE}-{SPAN}-01"], None),
        ([], None),
    ],
)
def test_context_is_read_as_the_standard_says(values: list[str], known: tuple[str, str, bool] | None) -> None:
    found = TraceContext.read([value.encode() for value in values])

    assert (found[:3] if found else None) == known


SAMPLERS = {
    "always_on": ALWAYS_ON,
    "always_off": ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased(0.3),
    "parentbased_always_on": ParentBased(ALWAYS_ON),
    "parentbased_always_off": ParentBased(ALWAYS_OFF),
    "parentbased_traceidratio": ParentBased(TraceIdRatioBased(0.3)),
    "of another rate than the variable": ParentBased(TraceIdRatioBased(0.7)),
    "of the program's own": ParentBased(ALWAYS_ON, remote_parent_not_sampled=TraceIdRatioBased(0.5)),
}
PARENTS = [None, TraceContext(TRACE, SPAN, True, "vendor=1"), TraceContext(TRACE, SPAN, False)]


@pytest.mark.parametrize("name", SAMPLERS)
def test_request_is_sampled_as_the_sampler_says(name: str) -> None:
    sampler = SAMPLERS[name]
    decide = decision(sampler, {"OTEL_TRACES_SAMPLER_ARG": "0.3"})
    asked = decision(Asked(sampler), {})
    ids = [f"{number * 0x9E3779B97F4A7C15 & (1 << 64) - 1:032x}" for number in range(1, 200)]

    for parent in PARENTS:
        found = [decide("POST", trace_id, parent) for trace_id in ids]
        assert found == [asked("POST", trace_id, parent) for trace_id in ids]
        if "ratio" in name and parent is None:
            assert 40 < sum(found) < 80


class Asked(Sampler):
    """A sampler with a name of its own, which is asked."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler

    def should_sample(self, *arguments: Any, **named: Any) -> Any:
        return self.sampler.should_sample(*arguments, **named)

    def get_description(self) -> str:
        return "asked"


@pytest.mark.parametrize("name", list(SAMPLERS)[:6])
def test_sampler_of_the_specification_is_not_called_for_a_request(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decide = decision(SAMPLERS[name], {"OTEL_TRACES_SAMPLER_ARG": "0.3"})
    monkeypatch.setattr(type(SAMPLERS[name]), "should_sample", None)

    assert {decide("POST", TRACE, parent) for parent in PARENTS} <= {True, False}


def test_thread_of_the_spans_takes_its_share_of_what_the_process_gets() -> None:
    alone, crowded = pause(0.03, 1.0, 0.03), pause(0.03, 10.0, 0.03)

    assert 0.03 / (0.03 + alone) == pytest.approx(0.03)
    assert 0.03 / (0.03 + crowded) == pytest.approx(0.003)  # of the clock's time, of which the process has a tenth


@pytest.mark.parametrize(("status", "error"), [("OK", None), ("INVALID_ARGUMENT", None), ("INTERNAL", "INTERNAL")])
def test_call_of_grpc_is_described_by_its_conventions(status: str, error: str | None) -> None:
    stats = RequestStats(protocol="grpc", rows=2)
    described = rpc_span("inference.GRPCInferenceService/ModelInfer", status, "mine", stats)

    assert (described.name, described.error) == ("inference.GRPCInferenceService/ModelInfer", error)
    assert described.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": status,
        "model_api.protocol": "grpc",
        "model_api.request_id": "mine",
        "model_api.rows": 2,
    }
