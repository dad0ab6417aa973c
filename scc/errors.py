"""Every error SCC raises, arranged by what the operator should do.

SccError
├─ ConfigError        fix luigi.cfg, the process's file or the secret; running again changes nothing
├─ RemoteError        Eloqua or Salesforce failed us; carries method, path template, status and code, never free text
│  ├─ Unavailable       run again later: timeouts, 429 and 5xx that outlived the retries
│  └─ Refused           change the request or the permission: other 4xx, a sync that ended in error
├─ VolumeUnavailable  run again later: the outputs volume does not answer
├─ SafetyStop         look at the input: the process wanted to change too many records
├─ LeaseHeld          another run of this process is writing; it goes on, this one ends
├─ LeaseLost          this run was paused or cut off for too long; run it again
├─ Superseded         another slot's run wrote meanwhile; run it again, it reads and decides anew
├─ QuotaReached       the process used its share of Eloqua's hourly quota of syncs; run it again later
├─ Unaccounted        look at the receipt: what the remote system reports does not add up, or it changed too much
├─ DryRunWrite        a mistake in SCC: a rehearsal tried to change something
└─ BrokenStep         a mistake in SCC: a step could not even be planned

`exit_code` is what bin/run-job ends with when this error failed the run; None keeps Luigi's own code.
"""


class SccError(Exception):
    """An error with a sentence that an operator can act on."""

    exit_code: int | None = None


class ConfigError(SccError):
    """The configuration, a process's file or a credential is wrong; nothing was changed."""

    exit_code = 78


class RemoteError(SccError):
    """Eloqua or Salesforce failed us.

    path is a template ("/syncs/{id}/data"), code a remote error code that was checked to be one ("INVALID_FIELD",
    "ELQ-00026") or None: never a query, an address or a remote free text, because errors travel to luigid.
    """

    def __init__(
        self, system: str, method: str, path: str, status: int | None, code: str | None = None, problem: str = ""
    ):
        answer = " ".join(str(part) for part in (status, code) if part is not None)
        super().__init__(f"{system}: {method} {path}: {problem or 'was refused'}" + (f" ({answer})" if answer else ""))
        self.system, self.method, self.path, self.status, self.code = system, method, path, status, code


class Unavailable(RemoteError):
    """A remote system did not answer in time or was busy until the retries ran out; run again later."""

    exit_code = 75


class Refused(RemoteError):
    """A remote system understood and said no; the request or the permission has to change."""


class VolumeUnavailable(SccError):
    """The outputs volume does not answer: what is on it is unknown, which is not the same as missing."""

    exit_code = 75


class SafetyStop(SccError):
    """A process planned more changes than its limit, and made none."""

    exit_code = 65

    def __init__(self, process: str, what: str, count: int, total: int, limit: str):
        super().__init__(f"{process} stopped: {count:,} of {total:,} {what}, limit {limit}; this step changed nothing")
        self.process, self.count, self.total = process, count, total


class LeaseHeld(SccError):
    """Another run of the same process holds its lease."""

    exit_code = 10


class LeaseLost(SccError):
    """Too little is left of this run's lease to send a change safely."""

    exit_code = 75


class Superseded(SccError):
    """What a slot had read is older than what another slot's run wrote since."""

    exit_code = 75

    def __init__(self, slot: str):
        super().__init__(
            f"while slot {slot} waited, another slot's run wrote: nothing was changed from the older read; run the slot "
            "again, it reads anew"
        )


class QuotaReached(SccError):
    """A process used its share of Eloqua's hourly quota; the next sync was not asked for."""

    exit_code = 75

    def __init__(self, process: str, kind: str, used: int, allowed: int, free_at: str):
        super().__init__(
            f"{process} asked for {used:,} {kind} within an hour, and its share of Eloqua's quota is {allowed:,}: the next "
            f"one was not asked for; run it again after {free_at} UTC, or raise quota_share in the catalogue"
        )
        self.process, self.kind, self.used, self.allowed = process, kind, used, allowed


class Unaccounted(SccError):
    """Counts that must add up do not, or too many records were rejected; the evidence lies beside the receipt."""


class DryRunWrite(SccError):
    """A dry run reached a request that could change something; it was not sent."""


class BrokenStep(SccError):
    """A step's complete() or requires() failed by a mistake in the code; says where, without the values it was about."""
