"""The contract: what an edge and a worker must agree on. No transport in it.

    client ─HTTP─▶ handlers ─body─▶ dialect ─Job─▶ edge/bus ═NATS═▶ workers/bus ─Delivery─▶ serve ─▶ run ─Job─▶ target
    client ◀─SSE── relay ◀─bytes── dialect ◀─Frame─ edge/bus ◀═NATS═ workers/bus ◀──────Frame────── run ◀─Frame─ target

The edge offers a `Job` on the work queue, as a numbered line (`messages`, `subjects`, `streams`). A worker that takes
it draws a claim and says `Claimed`; the edge acknowledges. Frames come back in batches, numbered from 0 (`codec`).
The first claim heard of owns the line: `lifecycle.Fence` drops what others say, and finds holes. One arrow points
back: `Cancel` and `Ask`. Failures cross as a code and a sentence (`errors`). Both tiers hold their connection the same
way (`wire`), read the same settings (`settings`) and use the same names for what they measure (`telemetry`).
"""
