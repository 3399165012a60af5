-- What is open, worst and rarest first.
SELECT host, severity, score, program_name, destination, port, hosts, first_seen, last_seen, reason FROM sonde.fleet_alerts
WHERE change NOT IN ('closed') ORDER BY score DESC, hosts, host, destination LIMIT 100;
