-- The way back as a runbook would have it, written from the models' names. It undoes nothing:
-- the tables bear other names, and the enums are in use.
DROP TABLE IF EXISTS "ReportSchedule" CASCADE;
DROP TABLE IF EXISTS "ProjectReport" CASCADE;
DROP TABLE IF EXISTS "RiskEntry" CASCADE;
DROP TABLE IF EXISTS "ProjectHealthCheck" CASCADE;
DROP TABLE IF EXISTS "PhaseCheckpoint" CASCADE;

DROP TYPE IF EXISTS "ReportType";
DROP TYPE IF EXISTS "ReportFormat";
DROP TYPE IF EXISTS "StakeholderType";
DROP TYPE IF EXISTS "ReportFrequency";
DROP TYPE IF EXISTS "RiskSeverity";
DROP TYPE IF EXISTS "RiskStatus";
DROP TYPE IF EXISTS "CheckpointStatus";
