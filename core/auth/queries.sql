-- name: ended_tokens
SELECT user_id, session, epoch FROM ended_tokens
WHERE ended_at > now() - %(seconds)s * interval '1 second'
