"""Message classes of a .proto file, made from its text.

Generated code fits some versions of protobuf only, and a model may have been trained with another one. Generated code
also shares one list of names with all other code of the process, such as a client of the same protocol.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

WORD: Final = re.compile(r'//[^\n]*|"[^"]*"|[\w.]+|[{}()<>,;=]')
SCALARS: Final = {
    name: FieldDescriptorProto.Type.Value(f"TYPE_{name.upper()}")
    for name in ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
}
OPTIONAL: Final = FieldDescriptorProto.LABEL_OPTIONAL
REPEATED: Final = FieldDescriptorProto.LABEL_REPEATED


class Rpc(NamedTuple):
    """A method of a service. `path` is that of its requests."""

    path: str
    request: type[Any]
    response: type[Any]


class ProtoFile:
    """The messages and the methods of a .proto file. It reads only the part of proto3 that the files here use."""

    def __init__(self, path: Path) -> None:
        self._pool = DescriptorPool()
        self._pool.Add(_Parser(path).file())
        # Resolves the kind of each type (message or enum), which the text does not say and tools of reflection need.
        self.descriptor = FileDescriptorProto()
        self._pool.FindFileByName(path.name).CopyToProto(self.descriptor)

    @property
    def services(self) -> list[str]:
        """The full names of the services."""
        return [f"{self.descriptor.package}.{service.name}" for service in self.descriptor.service]

    def message(self, name: str) -> type[Any]:
        """Return the class of a message; `name` has no package."""
        return self._class(f"{self.descriptor.package}.{name}")

    def method(self, name: str) -> Rpc:
        """Return a method of the file's first service."""
        service = self.descriptor.service[0]
        found = next(method for method in service.method if method.name == name)
        path = f"/{self.descriptor.package}.{service.name}/{name}"
        return Rpc(path, self._class(found.input_type), self._class(found.output_type))

    def _class(self, name: str) -> type[Any]:
        found: type[Any] = GetMessageClass(self._pool.FindMessageTypeByName(name.removeprefix(".")))
        return found


class _Parser:
    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._words = iter([word for word in WORD.findall(path.read_text()) if not word.startswith("//")])

    def file(self) -> FileDescriptorProto:
        file = FileDescriptorProto(name=self._name, syntax="proto3")
        for word in self._words:
            match word:
                case "syntax":
                    self._skip(3)
                case "package":
                    file.package = next(self._words)
                    self._skip(1)
                case "message":
                    file.message_type.append(self._message())
                case "enum":
                    file.enum_type.append(self._enum())
                case "service":
                    service = file.service.add(name=next(self._words))
                    for _ in self._block():
                        self._method(service)
                case _:
                    raise ValueError(f"{self._name}: {word} is not supported")
        return file

    def _message(self) -> DescriptorProto:
        message = DescriptorProto(name=next(self._words))
        for word in self._block():
            match word:
                case "message":
                    message.nested_type.append(self._message())
                case "enum":
                    message.enum_type.append(self._enum())
                case "oneof":
                    message.oneof_decl.add(name=next(self._words))
                    for kind in self._block():
                        self._field(message, kind).oneof_index = len(message.oneof_decl) - 1
                case "map":
                    self._map(message)
                case "repeated":
                    self._field(message, next(self._words), REPEATED)
                case _:
                    self._field(message, word)
        return message

    def _enum(self) -> EnumDescriptorProto:
        enum = EnumDescriptorProto(name=next(self._words))
        for name in self._block():
            self._skip(1)
            enum.value.add(name=name, number=int(next(self._words)))
            self._skip(1)
        return enum

    def _field(self, message: DescriptorProto, kind: str, label: int = OPTIONAL) -> FieldDescriptorProto:
        """Add a field whose type has been read: a scalar, or the name of a message or an enum."""
        name = next(self._words)
        first, *others = name.split("_")
        field = message.field.add(name=name, label=label, json_name=first + "".join(map(str.capitalize, others)))
        self._skip(1)
        field.number = int(next(self._words))
        self._skip(1)
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            field.type_name = kind
        return field

    def _map(self, message: DescriptorProto) -> None:
        """Add a map, which is a repeated message of key and value."""
        self._skip(1)
        key = next(self._words)
        self._skip(1)
        value = next(self._words)
        self._skip(1)
        field = self._field(message, "", REPEATED)
        entry = message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=OPTIONAL, type=SCALARS[key])
        entry.field.add(name="value", number=2, label=OPTIONAL, type_name=value)
        field.type_name = entry.name

    def _method(self, service: Any) -> None:
        """Add `rpc Name(stream Request) returns (stream Response);`, whose first word has been read."""
        method = service.method.add(name=next(self._words))
        method.client_streaming, method.input_type = self._in_parentheses()
        self._skip(1)
        method.server_streaming, method.output_type = self._in_parentheses()
        self._skip(1)

    def _in_parentheses(self) -> tuple[bool, str]:
        self._skip(1)
        word = next(self._words)
        streaming = word == "stream"
        name = next(self._words) if streaming else word
        self._skip(1)
        return streaming, name

    def _block(self) -> Iterator[str]:
        """Yield the first word of each statement between braces."""
        self._skip(1)
        while (word := next(self._words)) != "}":
            yield word

    def _skip(self, count: int) -> None:
        for _ in range(count):
            next(self._words)
