-- Destinations and programs that the fleet saw for the first time in the last day, newest first.
SELECT kind, value, first_seen, host FROM sonde.fleet_first_seen WHERE age_secs < 86400
ORDER BY first_seen DESC, kind, value LIMIT 100;
