"""What contacts and accounts share over REST: standard properties beside `fieldValues` (eloqua.md 2.3, 2.7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scc.sandbox.eloqua.auth import User
from scc.sandbox.eloqua.entities import OWN_FIELDS, Entity
from scc.sandbox.eloqua.rest.errors import not_found
from scc.sandbox.eloqua.rest.records import Values, depth_of, field_properties, field_values, merged, number_of
from scc.sandbox.eloqua.rest.search import Property
from scc.sandbox.http import Request, Response, Router, json_response

if TYPE_CHECKING:
    from scc.sandbox.eloqua import Eloqua


class StandardRecords(ABC):
    """One kind of record. Subclasses say which, and how it is found, listed, created, changed and shown."""

    properties: Mapping[str, str]  # standard property -> internal field name; a PUT blanks those that it leaves out
    key: str  # but for this field, which no record is without

    def __init__(self, eloqua: Eloqua, entity: Entity) -> None:
        self._eloqua, self._store, self._entity = eloqua, eloqua.store, entity
        own = OWN_FIELDS[entity.kind]
        self._dates = (own.born, own.touched)

    def routes(self, router: Router) -> None:
        path = f"/data/{self._entity.kind.lower()}"
        router.add("GET", path + "s", self.find)
        router.add("POST", path, self.create)
        router.add("GET", path + "/{number}", self.get)
        router.add("PUT", path + "/{number}", self.update)
        router.add("DELETE", path + "/{number}", self.delete)

    @abstractmethod
    def find(self, request: Request, user: User, version: str) -> Response:
        """The records that a search finds, a page of them."""

    @abstractmethod
    def create(self, request: Request, user: User, version: str) -> Response:
        """A new record. 409 where it is somebody else already."""

    @abstractmethod
    def update(self, request: Request, user: User, version: str, number: str) -> Response:
        """A record changed, its standard properties blanked where the body leaves them out."""

    def get(self, request: Request, user: User, version: str, number: str) -> Response:
        return self._answer(request, self._row(number))

    def delete(self, request: Request, user: User, version: str, number: str) -> Response:
        self._remove(self._row(number)["Id"])
        return Response(200, b"", None)

    # -- what subclasses say ----------------------------------------------------------------------------------------

    @abstractmethod
    def _fetch(self, number: int) -> dict[str, Any]:
        """The record with this id. Raises KeyError."""

    @abstractmethod
    def _remove(self, number: int) -> None:
        """Delete the record with this id."""

    @abstractmethod
    def _shown(self, rows: Sequence[dict[str, Any]], depth: str) -> list[dict[str, Any]]:
        """The records as this depth shows them."""

    # -- what they use ----------------------------------------------------------------------------------------------

    def _row(self, number: str) -> dict[str, Any]:
        try:
            return self._fetch(number_of(number))
        except KeyError:
            raise not_found() from None

    def _answer(self, request: Request, row: dict[str, Any], status: int = 200) -> Response:
        return json_response(self._shown([row], depth_of(request, "complete"))[0], status)

    def _sent(self, body: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The field texts that a body gives a new record, or one that is there: that one loses what is not sent."""
        reader = Values(self._store, self._entity, self._entity.kind, old["Id"] if old else None)
        values = merged(reader.of_properties(body, self.properties), reader.of_field_values(body), old or {})
        for internal in self.properties.values() if old else ():
            values.setdefault(internal, old[internal] if old and internal == self.key else "")
        return values

    def _searchable(self) -> dict[str, Property]:
        """What a search can name, in lower case: properties, internal names of fields, Eloqua's own."""
        known = field_properties(self._entity)
        known |= {name.lower(): known[internal.lower()] for name, internal in self.properties.items()}
        born, touched = Property("r.CreatedAt", "time"), Property("r.UpdatedAt", "time")
        own = (name.lower() for name in self._dates)
        return (
            known
            | {"id": Property("r.Id", "id"), "createdat": born, "updatedat": touched}
            | dict(zip(own, (born, touched), strict=True))
        )

    def _field_values(self, row: Mapping[str, Any]) -> list[dict[str, str]]:
        dates = dict(zip(self._dates, (row["CreatedAt"], row["UpdatedAt"]), strict=True))
        return field_values(self._entity, {**row, **dates})
