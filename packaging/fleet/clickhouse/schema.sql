-- What a fleet of Sonde's sensors says, and what is counted of it. Runs on ClickHouse 18.16 and on today's; made to be run again.
--
-- Rows come from `sonde fleet carry`, which may send a batch twice: the tables of records keep one row for each emission's id, and
-- what is counted is counted in a way that does not change when it is counted twice (sets, least, most).
-- Times are the records' own, in UTC; carry holds them to five minutes ahead of the time at which the stream took them, so that
-- one wrong clock does not move the fleet's "now". How long rows are kept: retention.sql.

CREATE DATABASE IF NOT EXISTS sonde;

-- Alerts, one row for each emission.
CREATE TABLE IF NOT EXISTS sonde.alerts (
    day Date, time DateTime('UTC'), received DateTime('UTC'), id String, host String,
    finding_id String, revision UInt32, turn UInt64, change String, severity String, score Float64, class String, rule String,
    program String, program_name String, program_sha256 String,
    destination String, registered_domain String, ip String, port UInt16, transport String, ja4 String,
    period_secs Float64, first_seen DateTime('UTC'), last_seen DateTime('UTC'), reason String, body String
) ENGINE = ReplacingMergeTree(received) PARTITION BY day ORDER BY (finding_id, id);

-- What one program did with one destination in an interval; with rest = 1 what has no line of its own.
CREATE TABLE IF NOT EXISTS sonde.summaries (
    day Date, time DateTime('UTC'), received DateTime('UTC'), id String, agent String, host String, rest UInt8,
    started DateTime('UTC'), ended DateTime('UTC'),
    program String, program_name String, program_sha256 String,
    destination String, registered_domain String, ip String, port UInt16, transport String, ja4 String,
    connections UInt64, bytes_out UInt64, bytes_in UInt64, first_seen DateTime('UTC'), last_seen DateTime('UTC'),
    rhythm_id String, period_secs Float64, period_class Int16, interval_median_secs Float64, jitter_mad_ratio Float64, bans Float64,
    callbacks UInt32, score Float64, severity String,
    rest_destinations UInt64
) ENGINE = ReplacingMergeTree(received) PARTITION BY day ORDER BY (destination, agent, id);

-- How each sensor is.
CREATE TABLE IF NOT EXISTS sonde.health (
    day Date, time DateTime('UTC'), received DateTime('UTC'), id String, agent String, host String, version String,
    sequence UInt64, started DateTime('UTC'), verdict String, interval_secs UInt32, cpu_percent Float64, rss_bytes UInt64,
    body String
) ENGINE = ReplacingMergeTree(received) PARTITION BY day ORDER BY (agent, id);

-- What was done to sensors.
CREATE TABLE IF NOT EXISTS sonde.audit (
    day Date, time DateTime('UTC'), received DateTime('UTC'), id String, agent String, host String,
    sequence UInt64, action String, outcome String, user String, reason String, body String
) ENGINE = ReplacingMergeTree(received) PARTITION BY day ORDER BY (agent, id);

-- Who has what, day by day: kind is sensor (value empty: all of them), destination, ja4 or program (SHA-256). The sets are exact:
-- eight bytes for each sensor that has the value on that day, sensors being known by a 64-bit hash of their id.
CREATE TABLE IF NOT EXISTS sonde.prevalence (
    day Date, kind String, value String,
    sensor_set AggregateFunction(uniqExact, UInt64),
    earliest AggregateFunction(min, DateTime('UTC')), latest AggregateFunction(max, DateTime('UTC'))
) ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY (kind, value);

CREATE MATERIALIZED VIEW IF NOT EXISTS sonde.prevalence_of_summaries TO sonde.prevalence AS
SELECT day, pair.1 AS kind, pair.2 AS value, uniqExactState(sipHash64(agent)) AS sensor_set, minState(first_seen) AS earliest,
    maxState(last_seen) AS latest
FROM sonde.summaries
ARRAY JOIN [('sensor', ''), ('destination', destination), ('ja4', ja4), ('program', program_sha256)] AS pair
WHERE pair.1 = 'sensor' OR pair.2 != ''
GROUP BY day, kind, value;

CREATE MATERIALIZED VIEW IF NOT EXISTS sonde.prevalence_of_health TO sonde.prevalence AS
SELECT day, 'sensor' AS kind, '' AS value, uniqExactState(sipHash64(agent)) AS sensor_set, minState(time) AS earliest,
    maxState(time) AS latest
FROM sonde.health GROUP BY day, kind, value;

-- When the fleet saw a destination or program first, and where; kept longer than the rest.
CREATE TABLE IF NOT EXISTS sonde.firsts (
    month UInt32, kind String, value String,
    earliest AggregateFunction(min, DateTime('UTC')), latest AggregateFunction(max, DateTime('UTC')),
    first_host AggregateFunction(argMin, String, DateTime('UTC'))
) ENGINE = AggregatingMergeTree PARTITION BY month ORDER BY (kind, value);

CREATE MATERIALIZED VIEW IF NOT EXISTS sonde.firsts_of_summaries TO sonde.firsts AS
SELECT toYYYYMM(day) AS month, pair.1 AS kind, pair.2 AS value, minState(first_seen) AS earliest, maxState(last_seen) AS latest,
    argMinState(host, first_seen) AS first_host
FROM sonde.summaries
ARRAY JOIN [('destination', destination), ('program', program_sha256)] AS pair
WHERE pair.2 != ''
GROUP BY month, kind, value;

-- Rhythms, day by day. Periods are equal when they have the same class (steps of 12 percent, 60 s in the middle of class 0).
CREATE TABLE IF NOT EXISTS sonde.rhythms (
    day Date, destination String, program_sha256 String, period_class Int16,
    sensor_set AggregateFunction(uniqExact, UInt64), called AggregateFunction(max, String),
    least_secs AggregateFunction(min, Float64), most_secs AggregateFunction(max, Float64),
    highest AggregateFunction(max, Float64),
    earliest AggregateFunction(min, DateTime('UTC')), latest AggregateFunction(max, DateTime('UTC'))
) ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY (destination, program_sha256, period_class);

CREATE MATERIALIZED VIEW IF NOT EXISTS sonde.rhythms_of_summaries TO sonde.rhythms AS
SELECT day, destination, program_sha256, period_class, uniqExactState(sipHash64(agent)) AS sensor_set,
    maxState(program_name) AS called, minState(period_secs) AS least_secs, maxState(period_secs) AS most_secs,
    maxState(score) AS highest, minState(first_seen) AS earliest, maxState(last_seen) AS latest
FROM sonde.summaries WHERE rhythm_id != '' AND period_secs > 0
GROUP BY day, destination, program_sha256, period_class;

-- Sensors, day by day and start by start.
CREATE TABLE IF NOT EXISTS sonde.sensors (
    day Date, agent String, started DateTime('UTC'),
    last_host AggregateFunction(argMax, String, DateTime('UTC')), last_verdict AggregateFunction(argMax, String, DateTime('UTC')),
    last_interval AggregateFunction(argMax, UInt32, DateTime('UTC')), latest AggregateFunction(max, DateTime('UTC')),
    least_number AggregateFunction(min, UInt64), most_number AggregateFunction(max, UInt64),
    numbers AggregateFunction(uniqExact, UInt64)
) ENGINE = AggregatingMergeTree PARTITION BY day ORDER BY (agent, started);

CREATE MATERIALIZED VIEW IF NOT EXISTS sonde.sensors_of_health TO sonde.sensors AS
SELECT day, agent, started, argMaxState(host, time) AS last_host, argMaxState(verdict, time) AS last_verdict,
    argMaxState(interval_secs, time) AS last_interval, maxState(time) AS latest, minState(sequence) AS least_number,
    maxState(sequence) AS most_number, uniqExactState(sequence) AS numbers
FROM sonde.health
GROUP BY day, agent, started;

-- The questions. Each counts the last seven days that the fleet has told of, unless it says otherwise.

-- Hosts that have a destination, JA4 or program (SHA-256), and their share of all hosts.
CREATE VIEW IF NOT EXISTS sonde.fleet_prevalence AS
SELECT kind, value, hosts, hosts / (
        SELECT uniqExactMerge(sensor_set) FROM sonde.prevalence
        WHERE kind = 'sensor' AND day > (SELECT max(day) FROM sonde.prevalence) - 7
    ) AS share, first_seen, last_seen
FROM (
    SELECT kind, value, uniqExactMerge(sensor_set) AS hosts, minMerge(earliest) AS first_seen, maxMerge(latest) AS last_seen
    FROM sonde.prevalence
    WHERE kind != 'sensor' AND day > (SELECT max(day) FROM sonde.prevalence) - 7
    GROUP BY kind, value
);

-- One row for each destination with a period (way: destination), and one for each program that calls several destinations in one
-- period (way: program, fall-back channels or rotation). Ask for hosts >= k.
CREATE VIEW IF NOT EXISTS sonde.fleet_rhythm AS
SELECT way, called_host AS destination, caller AS program_sha256, program_name, period_class, hosts, destinations, period_least_secs, period_most_secs, score,
    first_seen, last_seen
FROM (
    SELECT 'destination' AS way, destination AS called_host, '' AS caller, maxMerge(called) AS program_name, period_class,
        uniqExactMerge(sensor_set) AS hosts, toUInt64(1) AS destinations, minMerge(least_secs) AS period_least_secs,
        maxMerge(most_secs) AS period_most_secs, maxMerge(highest) AS score, minMerge(earliest) AS first_seen,
        maxMerge(latest) AS last_seen
    FROM sonde.rhythms WHERE day > (SELECT max(day) FROM sonde.prevalence) - 7
    GROUP BY destination, period_class
    UNION ALL
    SELECT 'program' AS way, '' AS called_host, program_sha256 AS caller, maxMerge(called) AS program_name, period_class,
        uniqExactMerge(sensor_set) AS hosts, uniqExact(destination) AS destinations, minMerge(least_secs) AS period_least_secs,
        maxMerge(most_secs) AS period_most_secs, maxMerge(highest) AS score, minMerge(earliest) AS first_seen,
        maxMerge(latest) AS last_seen
    FROM sonde.rhythms WHERE day > (SELECT max(day) FROM sonde.prevalence) - 7 AND program_sha256 != ''
    GROUP BY program_sha256, period_class
    HAVING destinations >= 2
);

-- Destinations and programs by when the fleet saw them first, of all that firsts holds; ask for age_secs < N.
CREATE VIEW IF NOT EXISTS sonde.fleet_first_seen AS
SELECT kind, value, first_seen, last_seen, host,
    toInt64(toUInt32((SELECT max(time) FROM sonde.summaries))) - toInt64(toUInt32(first_seen)) AS age_secs
FROM (
    SELECT kind, value, minMerge(earliest) AS first_seen, maxMerge(latest) AS last_seen, argMinMerge(first_host) AS host
    FROM sonde.firsts GROUP BY kind, value
);

-- Sensors of which no health came for more than three of their intervals, and those of which numbers are missing. Silence is
-- counted to the fleet's latest word. Ask for overdue > x to be more patient.
CREATE VIEW IF NOT EXISTS sonde.fleet_silent AS
SELECT agent, host, verdict, last_health, interval_secs, silent_secs, silent_secs / interval_secs AS overdue, missing
FROM (
    SELECT agent, host, verdict, last_health, interval_secs, missing,
        toInt64(toUInt32((SELECT maxMerge(latest) FROM sonde.sensors))) - toInt64(toUInt32(last_health)) AS silent_secs
    FROM (
        SELECT agent, argMax(name, at) AS host, argMax(word, at) AS verdict, max(at) AS last_health, argMax(secs, at) AS interval_secs,
            sum(lost) AS missing
        FROM (
            SELECT agent, started, argMaxMerge(last_host) AS name, argMaxMerge(last_verdict) AS word,
                argMaxMerge(last_interval) AS secs, maxMerge(latest) AS at,
                toInt64(maxMerge(most_number)) + 1
                    - if(toDate(started) >= (SELECT min(day) FROM sonde.sensors), 1, toInt64(minMerge(least_number)))
                    - toInt64(uniqExactMerge(numbers)) AS lost
            FROM sonde.sensors GROUP BY agent, started
        )
        GROUP BY agent
    )
)
WHERE silent_secs > 3 * interval_secs OR missing > 0;

-- The state of each finding: its latest emission, with how many of the fleet's hosts call the same destination.
CREATE VIEW IF NOT EXISTS sonde.fleet_alerts AS
SELECT finding_id, latest.1 AS host, latest.2 AS revision, latest.3 AS change, latest.4 AS severity, latest.5 AS score,
    latest.6 AS class, latest.7 AS rule, latest.8 AS program, latest.9 AS program_name, latest.10 AS program_sha256,
    called AS destination, latest.11 AS port, latest.12 AS transport, latest.13 AS ja4, latest.14 AS period_secs,
    latest.15 AS first_seen, latest.16 AS last_seen, latest.17 AS time, latest.18 AS reason, hosts
FROM (
    SELECT finding_id, argMax(destination, turn) AS called,
        argMax(tuple(host, revision, change, severity, score, class, rule, program, program_name, program_sha256, port, transport, ja4,
            period_secs, first_seen, last_seen, time, reason), turn) AS latest
    FROM sonde.alerts GROUP BY finding_id
) AS told
ANY LEFT JOIN (
    SELECT value AS called, uniqExactMerge(sensor_set) AS hosts
    FROM sonde.prevalence
    WHERE kind = 'destination' AND day > (SELECT max(day) FROM sonde.prevalence) - 7
        AND value IN (SELECT destination FROM sonde.alerts)
    GROUP BY value
) AS counted USING called;
