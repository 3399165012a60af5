-- How long rows are kept, for servers since 19.6; the views count seven days. On older ones drop partitions by day:
--   ALTER TABLE sonde.summaries DROP PARTITION '2026-03-02';
ALTER TABLE sonde.alerts MODIFY TTL day + INTERVAL 365 DAY;
ALTER TABLE sonde.audit MODIFY TTL day + INTERVAL 365 DAY;
ALTER TABLE sonde.summaries MODIFY TTL day + INTERVAL 30 DAY;
ALTER TABLE sonde.health MODIFY TTL day + INTERVAL 3 DAY;
ALTER TABLE sonde.prevalence MODIFY TTL day + INTERVAL 30 DAY;
ALTER TABLE sonde.rhythms MODIFY TTL day + INTERVAL 30 DAY;
ALTER TABLE sonde.sensors MODIFY TTL day + INTERVAL 30 DAY;
