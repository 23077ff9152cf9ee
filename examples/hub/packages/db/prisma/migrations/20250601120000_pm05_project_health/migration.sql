-- CreateEnum
CREATE TYPE "ReportType" AS ENUM ('STATUS', 'BUDGET', 'RISK');

-- CreateEnum
CREATE TYPE "StakeholderType" AS ENUM ('SPONSOR', 'TEAM', 'CLIENT');

-- CreateEnum
CREATE TYPE "ReportFrequency" AS ENUM ('WEEKLY', 'MONTHLY');

-- CreateEnum
CREATE TYPE "RiskStatus" AS ENUM ('OPEN', 'MITIGATED', 'CLOSED');

-- CreateEnum
CREATE TYPE "CheckpointStatus" AS ENUM ('PENDING', 'PASSED', 'FAILED');

-- AlterEnum
ALTER TYPE "RiskSeverity" ADD VALUE 'CRITICAL';

-- AlterTable
ALTER TABLE "projects" RENAME COLUMN "budget" TO "budget_cents";

-- AlterTable
ALTER TABLE "projects" DROP COLUMN "health",
ADD COLUMN     "last_checked_at" TIMESTAMP(3);

-- DropIndex
DROP INDEX "projects_owner_id_idx";

-- CreateIndex
CREATE INDEX "projects_owner_id_status_idx" ON "projects"("owner_id", "status");

-- CreateTable
CREATE TABLE "project_health_checks" (
    "id" TEXT NOT NULL,
    "project_id" TEXT NOT NULL,
    "score" INTEGER NOT NULL,
    "checked_at" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "project_health_checks_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "risk_entries" (
    "id" TEXT NOT NULL,
    "project_id" TEXT NOT NULL,
    "severity" "RiskSeverity" NOT NULL DEFAULT 'MEDIUM',
    "status" "RiskStatus" NOT NULL DEFAULT 'OPEN',
    "title" TEXT NOT NULL,

    CONSTRAINT "risk_entries_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "project_reports" (
    "id" TEXT NOT NULL,
    "project_id" TEXT NOT NULL,
    "type" "ReportType" NOT NULL,
    "format" "ReportFormat" NOT NULL DEFAULT 'PDF',
    "audience" "StakeholderType" NOT NULL DEFAULT 'TEAM',
    "body" JSONB NOT NULL DEFAULT '{}',

    CONSTRAINT "project_reports_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "report_schedules" (
    "id" TEXT NOT NULL,
    "project_id" TEXT NOT NULL,
    "frequency" "ReportFrequency" NOT NULL,
    "next_run_at" TIMESTAMP(3),

    CONSTRAINT "report_schedules_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "phase_checkpoints" (
    "id" TEXT NOT NULL,
    "phase_id" TEXT NOT NULL,
    "status" "CheckpointStatus" NOT NULL DEFAULT 'PENDING',
    "due_at" TIMESTAMP(3),

    CONSTRAINT "phase_checkpoints_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "project_health_checks_project_id_checked_at_idx" ON "project_health_checks"("project_id", "checked_at");

-- CreateIndex
CREATE INDEX "risk_entries_project_id_idx" ON "risk_entries"("project_id");

-- AddForeignKey
ALTER TABLE "project_health_checks" ADD CONSTRAINT "project_health_checks_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "projects"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "risk_entries" ADD CONSTRAINT "risk_entries_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "projects"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "project_reports" ADD CONSTRAINT "project_reports_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "projects"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "report_schedules" ADD CONSTRAINT "report_schedules_project_id_fkey" FOREIGN KEY ("project_id") REFERENCES "projects"("id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "phase_checkpoints" ADD CONSTRAINT "phase_checkpoints_phase_id_fkey" FOREIGN KEY ("phase_id") REFERENCES "phases"("id") ON DELETE CASCADE ON UPDATE CASCADE;
