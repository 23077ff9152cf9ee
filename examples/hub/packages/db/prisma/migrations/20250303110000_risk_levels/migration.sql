-- Two of the seven enums that the runbook drops are older than the epic: they are in use here.
-- CreateEnum
CREATE TYPE "RiskSeverity" AS ENUM ('LOW', 'MEDIUM', 'HIGH');

-- CreateEnum
CREATE TYPE "ReportFormat" AS ENUM ('PDF', 'CSV');

-- AlterTable
ALTER TABLE "projects" ADD COLUMN "risk" "RiskSeverity" NOT NULL DEFAULT 'LOW';

-- AlterTable
ALTER TABLE "users" ADD COLUMN "export_format" "ReportFormat" NOT NULL DEFAULT 'PDF';
