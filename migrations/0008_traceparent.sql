-- The W3C traceparent of the span of the command that enqueued the event, if its call is traced; otherwise
-- null. The relay passes it on to Kafka.
ALTER TABLE outbox ADD COLUMN traceparent text;
