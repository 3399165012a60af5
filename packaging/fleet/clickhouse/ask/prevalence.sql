-- What few hosts have: destinations, JA4 fingerprints and programs of at most five hosts, rarest first.
SELECT kind, value, hosts, share, first_seen, last_seen FROM sonde.fleet_prevalence WHERE hosts <= 5
ORDER BY hosts, kind, value LIMIT 100;
