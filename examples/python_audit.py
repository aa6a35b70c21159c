"""The event that Agnes' audit repository would write, with nothing but the public OpenTelemetry SDK:

    pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python python_audit.py
"""

import json
import time
import uuid

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource

provider = LoggerProvider(
    Resource.create({"service.name": "agnes", "deployment.environment.name": "production"})
)
provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
logger = provider.get_logger("agnes.audit_repository")


def log(user_id, action, resource=None, params=None, result="success", **more):
    """Takes what the repository's own log() takes; telemetry must not break what it watches."""
    try:
        attributes = {
            "log.record.uid": str(uuid.uuid4()),
            "user.id": user_id,
            "agnes.action": action,
            "agnes.resource": resource,
            "agnes.result": result,
            "agnes.params": json.dumps(params) if params is not None else None,
            "agnes.params_before": json.dumps(more["params_before"]) if "params_before" in more else None,
            "agnes.duration_ms": more.get("duration_ms"),
            "client.address": more.get("client_ip"),
            "agnes.client_kind": more.get("client_kind"),
            "agnes.correlation_id": more.get("correlation_id"),
        }
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(),
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                event_name="agnes.audit",
                attributes={key: value for key, value in attributes.items() if value is not None},
            )
        )
    except Exception:
        pass


log("py-user", "sync.trigger", "table:orders", {"full": True}, duration_ms=420, client_kind="cli")
log(
    "py-user",
    "resource_grants.create",
    "table:orders",
    {"role": "reader"},
    params_before={"role": "none"},
    client_kind="web",
    client_ip="10.0.0.7",
)
log("py-user", "query.local", result="error.invalid_sql", duration_ms=12)
provider.shutdown()
