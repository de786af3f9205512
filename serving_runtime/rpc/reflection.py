"""The standard reflection service: it tells tools such as grpcurl which methods and messages there are."""

from pathlib import Path
from typing import Any, Final

from serving_runtime.codec.proto_file import ProtoFile
from serving_runtime.protocols.open_inference.messages import INFERENCE
from serving_runtime.rpc.health import HEALTH

REFLECTION: Final = ProtoFile(Path(__file__).with_name("reflection.proto"))
INFO: Final = REFLECTION.method("ServerReflectionInfo")
# Tools of before 2023 ask by this name; the messages are the same.
OLDER_PATH: Final = INFO.path.replace(".v1.", ".v1alpha.")
FILES: Final = (INFERENCE, HEALTH, REFLECTION)
BY_NAME: Final[dict[str, bytes]] = {file.descriptor.name: file.descriptor.SerializeToString() for file in FILES}
NOT_FOUND, UNIMPLEMENTED = 5, 12  # of grpc.StatusCode


def reflected(request: Any) -> Any:
    """Return the response to one request of a client."""
    response = INFO.response(valid_host=request.host, original_request=request)
    match request.WhichOneof("message_request"):
        case "list_services":
            names = [{"name": name} for file in FILES for name in file.services]
            response.list_services_response.CopyFrom(REFLECTION.message("ListServiceResponse")(service=names))
        case "file_by_filename":
            _add_file(response, BY_NAME.get(request.file_by_filename))
        case "file_containing_symbol":
            _add_file(response, _file_of(request.file_containing_symbol))
        case _:  # extensions, which proto3 does not have
            response.error_response.error_code = UNIMPLEMENTED
    return response


def _file_of(symbol: str) -> bytes | None:
    """Return the file of a service, of one of its methods, or of a message."""
    for file in FILES:
        package = f"{file.descriptor.package}."
        name = symbol.removeprefix(package).partition(".")[0]
        known = {each.name for each in (*file.descriptor.service, *file.descriptor.message_type)}
        if symbol.startswith(package) and name in known:
            return BY_NAME[file.descriptor.name]
    return None


def _add_file(response: Any, file: bytes | None) -> None:
    if file is None:
        response.error_response.error_code = NOT_FOUND
        response.error_response.error_message = "there is no such file or symbol"
    else:
        response.file_descriptor_response.file_descriptor_proto.append(file)
