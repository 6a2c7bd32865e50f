"""What can go wrong, as one tree. Imports nothing of ours.

    MembrainError                      a sentence, a remedy, a status, a code
    ├─ BadRequest            400       the request makes no sense
    │  ├─ UnknownModel       404       nobody here serves that model
    │  ├─ NotFound           404       no such route or record
    │  ├─ MethodNotAllowed   405
    │  ├─ NotServed          400       the model's provider has nothing of that kind
    │  ├─ NotCovered         501       a route whose content we cannot look at, so it is not passed on
    │  ├─ TooLarge           413       body, depth or field over its cap
    │  └─ UnsupportedType    415       not JSON, or an encoding we do not read
    ├─ Refused                         we said no; nothing left this machine
    │  ├─ Unauthorized       401       no key, or a wrong one
    │  ├─ BudgetExceeded     402       it might cost more than is left
    │  │  └─ PriceUnknown    402       nobody knows what it costs, and there is a budget
    │  ├─ Forbidden          403       the door, a scope or a policy said no
    │  │  ├─ PrivateRefused  403       private was asked, and this would leave the machine
    │  │  ├─ PiiBlocked      403       it holds what the policy does not let through
    │  │  ├─ ScopeMissing    403       the key was not issued for this
    │  │  ├─ ModelNotAllowed 403       the key may not ask this model
    │  │  └─ ProjectNotAllowed 403     the key belongs to another project
    │  ├─ RateLimited        429       too many requests, or tokens, in a minute
    │  ├─ GuardFailed        503       a control of ours failed, so nothing goes out
    │  │  ├─ AuditUnavailable     503  what happens cannot be put on record
    │  │  ├─ BudgetUnavailable    503  what was spent cannot be looked up or written down
    │  │  └─ RateLimitUnavailable 503  requests cannot be counted
    │  ├─ ShuttingDown       503       the gateway is draining
    │  └─ LoopDetected       508       we were about to call ourselves
    ├─ Unavailable                     we would, but cannot
    │  ├─ NotConfigured      503       the provider has no key or no address
    │  ├─ LocalModelNotInstalled  503  the embedded model is not on this machine
    │  ├─ NoCandidate        503       routing left nobody
    │  ├─ ProviderResting    503       who might answer failed too often lately
    │  ├─ ProviderFailed     502       one upstream failed, or said no in its own words
    │  └─ AllProvidersFailed 502       every candidate failed
    └─ Misconfigured                   settings, keys, files; raised at start, by name

`Refused` asks the caller to change something, `Unavailable` invites another try. Each dialect shapes these for
its wire and the command line makes a sentence and an exit code of them; nobody else catches them broadly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class MembrainError(Exception):
    """Base of all our errors.

    `message` is a sentence for a person and never holds a key, a found value or a prompt; `hint` is what to do
    about it, as a command where there is one. `param` names the request field at fault, `headers` go out with
    the answer. `retry` tells clients whether asking again can help (None: let them decide by status).
    """

    status: int = 500
    code: str = "internal_error"
    type: str = "api_error"
    retry: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        self.headers: dict[str, str] = dict(headers or {})

    @property
    def sentence(self) -> str:
        """The message and its remedy in one text, as it goes over the wire."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class BadRequest(MembrainError):
    """The request makes no sense as it is."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"
    retry = False


class UnknownModel(BadRequest):
    """Nobody here serves the model that was named."""

    status = 404
    code = "model_not_found"


class NotFound(BadRequest):
    """No such route, or no such record."""

    status = 404
    code = "not_found"


class MethodNotAllowed(BadRequest):
    """The route exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


class NotServed(BadRequest):
    """Who has the model does not answer questions of this kind, and there is no way to ask them otherwise."""

    code = "endpoint_not_served"


class NotCovered(BadRequest):
    """A route of OpenAI's or Anthropic's whose content cannot be looked at yet, so that nothing of it is passed on."""

    status = 501
    code = "not_implemented"


class TooLarge(BadRequest):
    """The body, its nesting or one of its parts is over a cap."""

    status = 413
    code = "request_too_large"


class UnsupportedType(BadRequest):
    """Not JSON, or packed in an encoding that we do not read."""

    status = 415
    code = "unsupported_media_type"


class Refused(MembrainError):
    """We said no, and nothing left this machine."""

    status = 403
    code = "refused"
    type = "permission_error"
    retry: ClassVar[bool | None] = False


class Unauthorized(Refused):
    """No client key where one is needed, or a wrong one."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class BudgetExceeded(Refused):
    """It might cost more than is left of a budget. Asking again helps when the period ends, or the limit rises."""

    status = 402
    code = "budget_exceeded"
    type = "insufficient_quota"


class PriceUnknown(BudgetExceeded):
    """Nobody knows what this model costs, so it cannot be asked under a budget."""

    code = "price_unknown"


class Forbidden(Refused):
    """The door, a key's scope or a policy said no."""

    code = "forbidden"


class PrivateRefused(Forbidden):
    """The request is private and this would have left the machine."""

    code = "private_refused"


class PiiBlocked(Forbidden):
    """A request, or an answer, holds what the policy does not let through. Says labels and places, never values."""

    code = "pii_blocked"


class ScopeMissing(Forbidden):
    """The client key was not issued for this."""

    code = "scope_missing"


class ModelNotAllowed(Forbidden):
    """The client key may not ask this model."""

    code = "model_not_allowed"


class ProjectNotAllowed(Forbidden):
    """The client key belongs to another project than the one that was named."""

    code = "project_not_allowed"


class RateLimited(Refused):
    """Too many requests, or tokens, in a minute. `Retry-After` says, in whole seconds, when there is room again."""

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"
    retry = None


class GuardFailed(Refused):
    """A control of ours could not do its work, so nothing goes out."""

    status = 503
    code = "guard_failed"
    type = "api_error"


class AuditUnavailable(GuardFailed):
    """What happens cannot be put on record, so nothing happens."""

    code = "audit_unavailable"


class BudgetUnavailable(GuardFailed):
    """What was spent cannot be looked up or written down, so nothing is spent."""

    code = "budget_unavailable"


class RateLimitUnavailable(GuardFailed):
    """Requests cannot be counted, so none passes."""

    code = "rate_limit_unavailable"


class ShuttingDown(Refused):
    """The gateway is draining and takes no new work."""

    status = 503
    code = "shutting_down"
    type = "api_error"
    retry = True


class LoopDetected(Refused):
    """The next hop would have been this gateway itself."""

    status = 508
    code = "loop_detected"
    type = "api_error"


class Unavailable(MembrainError):
    """We would, but cannot."""

    status = 503
    code = "unavailable"


class NotConfigured(Unavailable):
    """The provider that serves this model has no key or no address."""

    code = "provider_not_configured"
    retry = False


class LocalModelNotInstalled(Unavailable):
    """The embedded model, or the package that runs it, is not on this machine."""

    code = "local_model_not_installed"
    retry = False


class NoCandidate(Unavailable):
    """Routing left nobody who may answer."""

    code = "no_candidate"
    retry = False


class ProviderResting(Unavailable):
    """Everybody who might answer failed too often lately and is left alone for a while; `Retry-After` says how long."""

    code = "provider_resting"


class ProviderFailed(Unavailable):
    """One upstream failed, or refused in its own words.

    A refusal of the upstream (4xx, 429, 529) keeps its status, type, code and `Retry-After`, because the caller's
    SDK decides by them. What never spoke HTTP properly (a reset, garbage, silence) is a 502 or 504 of ours.

    `provider` is who failed; `passing` says whether another candidate may do better. `reached` says whether the model
    may have been at work already, so that the answer may be billed: not if no connection was made, nor if it refused.
    """

    status = 502
    code = "provider_failed"

    def __init__(  # noqa: PLR0913  # each is a fact of its own
        self,
        message: str,
        *,
        provider: str = "",
        status: int = 502,
        code: str | None = None,
        type: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        passing: bool = True,
        reached: bool = True,
    ) -> None:
        super().__init__(message, param=param, headers=headers)
        self.provider = provider
        self.status = status
        self.code = code or ProviderFailed.code
        self.type = type or ProviderFailed.type
        self.passing = passing
        self.reached = reached


class AllProvidersFailed(Unavailable):
    """Every candidate was tried and failed."""

    status = 502
    code = "all_providers_failed"


class Misconfigured(MembrainError):
    """Settings, keys or files that cannot work; raised at start and named."""

    code = "misconfigured"
