-- Runs once, as the superuser, when the primary's volume is empty.
-- The passwords come from the container's environment, and are never on a command line.
\getenv fanfare_password POSTGRES_FANFARE_PASSWORD
\getenv replication_password POSTGRES_REPLICATION_PASSWORD

CREATE ROLE fanfare LOGIN PASSWORD :'fanfare_password';
CREATE DATABASE fanfare OWNER fanfare;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replication_password';
