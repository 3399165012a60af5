-- Sensors that say nothing more, and those of which words are missing.
SELECT host, agent, last_health, silent_secs, overdue, missing, verdict FROM sonde.fleet_silent
ORDER BY silent_secs DESC, agent LIMIT 100;
