-- One rhythm on at least three hosts: to one destination, or of one program to several (T1008, fall-back channels).
SELECT way, destination, program_name, program_sha256, period_least_secs, period_most_secs, hosts, destinations, score
FROM sonde.fleet_rhythm WHERE hosts >= 3 ORDER BY score DESC, hosts, way, destination, program_sha256 LIMIT 100;
