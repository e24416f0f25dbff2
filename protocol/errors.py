"""What can go wrong, as the client may hear of it. `code` is what crosses the wire."""

from typing import ClassVar

from protocol.messages import Failed


class ServiceError(Exception):
    """A failure the client may hear about: a sentence that names the thing and the way out."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False  # another worker may succeed

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s


# --- the request's own fault -----------------------------------------------------------------------


class InvalidJson(ServiceError):
    """The body is not JSON, not an object, or empty."""

    code = "invalid_json"


class MissingParameter(ServiceError):
    """A required field is absent."""

    code = "missing_required_parameter"


class InvalidType(ServiceError):
    """A field holds a value of another type."""

    code = "invalid_type"


class InvalidValue(ServiceError):
    """A field holds a value that is none of those it may hold."""

    code = "invalid_value"


class DecimalAboveMax(ServiceError):
    """A number over its range."""

    code = "decimal_above_max_value"


class DecimalBelowMin(ServiceError):
    """A number under its range."""

    code = "decimal_below_min_value"


class IntegerAboveMax(ServiceError):
    """A whole number over its range."""

    code = "integer_above_max_value"


class IntegerBelowMin(ServiceError):
    """A whole number under its range."""

    code = "integer_below_min_value"


class EmptyArray(ServiceError):
    """A list that needs an entry has none."""

    code = "empty_array"


class ContextTooLong(ServiceError):
    """The target's context window is smaller than the history."""

    code = "context_length_exceeded"


class ContentFiltered(ServiceError):
    """The target's content filter refused the request before it answered."""

    code = "content_filter"


class UnsupportedParameter(ServiceError):
    """A parameter of the API that is not served here."""

    code = "unsupported_parameter"


class UnsupportedValue(ServiceError):
    """A value of the API that is not served here."""

    code = "unsupported_value"


class NoKey(ServiceError):
    """No API key came with the request."""

    code = "no_key"


class InvalidKey(ServiceError):
    """The API key is none of ours."""

    code = "invalid_api_key"


class InvalidSignature(ServiceError):
    """A webhook without a signature of ours, or with one that is too old."""

    code = "invalid_signature"


class ModelNotFound(ServiceError):
    """No model of that name."""

    code = "model_not_found"


class UnknownPath(ServiceError):
    """No such URL."""

    code = "unknown_path"


class MethodNotAllowed(ServiceError):
    """The URL exists, with another method."""

    code = "method_not_supported"


class TooLarge(ServiceError):
    """A body, a job or a frame over its limit."""

    code = "too_large"


class RequestTimeout(ServiceError):
    """The body did not arrive in time."""

    code = "request_timeout"


# --- ours or the target's --------------------------------------------------------------------------


class Internal(ServiceError):
    """A bug here. It is logged with its trace; the client hears only this."""

    code = "internal"


class UpstreamError(ServiceError):
    """The target failed or answered nonsense."""

    code = "upstream_error"


class EmptyAnswer(ServiceError):
    """The target came to its end without a word, a refusal or a call."""

    code = "empty_answer"


class KeyRefused(ServiceError):
    """The target does not take its key (401, 403): the operator's fault, not the caller's."""

    code = "key_refused"


class UpstreamTimeout(ServiceError):
    """The target was too slow."""

    code = "upstream_timeout"


class NotReady(ServiceError):
    """The target still loads its model: the same request succeeds in a moment."""

    code = "not_ready"


class UpstreamRefused(ServiceError):
    """The target found the request itself at fault (a 400); its reason goes to the caller."""

    code = "upstream_refused"


class RateLimited(ServiceError):
    """The target, or a limit of ours, refuses for a while."""

    code = "rate_limit_exceeded"


class QuotaGone(ServiceError):
    """The account that the target's key belongs to has nothing left: a retry is pointless."""

    code = "insufficient_quota"


class NoWorker(ServiceError):
    """No living worker serves the model."""

    code = "no_worker"


class Overloaded(ServiceError):
    """More turns wait than the queue holds, or nobody took this one in time."""

    code = "overloaded"


class WorkerLost(ServiceError):
    """The worker that ran the turn is gone, and the turn cannot be moved any more."""

    code = "worker_lost"


class Draining(ServiceError):
    """The process is about to stop. Another one may succeed."""

    code = "draining"
    retryable = True


class NoSlot(ServiceError):
    """A job reached a worker without a free slot. Another one may succeed."""

    code = "no_slot"
    retryable = True


class NotKept(ServiceError):
    """What was to be kept is not known to be. Whoever sent it may send it again."""

    code = "not_kept"


class ResponseNotFound(ServiceError):
    """No response of that id is stored for this key."""

    code = "response_not_found"


class PreviousResponseNotFound(ServiceError):
    """The response that a request goes on from is not stored for its key."""

    code = "previous_response_not_found"


class StoreAway(ServiceError):
    """Stored responses cannot be read now."""

    code = "store_away"


class NoWebSocket(ServiceError):
    """A WebSocket was asked for where there is plain HTTP alone."""

    code = "websocket_not_served"


class Cancelled(ServiceError):
    """The client has cancelled the response by another request."""

    code = "cancelled"


class Interrupted(ServiceError):
    """The caller hung up, or the edge gave the turn up."""

    code = "interrupted"


class Unheard(ServiceError):
    """The worker gave the turn up, because its edge was gone or asked for it no more; it may go on elsewhere."""

    code = "unheard"
    retryable = True


class SlowClient(ServiceError):
    """The client does not read: more than the bound waits unsent for it."""

    code = "slow_client"


BY_CODE: dict[str, type[ServiceError]] = {error.code: error for error in ServiceError.__subclasses__()}


def to_failed(error: ServiceError) -> Failed:
    """The last frame that carries `error` over the bus."""
    return Failed(
        code=error.code,
        message=str(error),
        param=error.param,
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def from_failed(frame: Failed) -> ServiceError:
    """The error that a last frame carried. A code of a newer version is an `UpstreamError`."""
    kind = BY_CODE.get(frame.code, UpstreamError)
    return kind(frame.message, param=frame.param, retry_after_s=frame.retry_after_s)
