-- AlterTable
ALTER TABLE "tasks" ADD COLUMN     "due_at" TIMESTAMP(3);

-- Tasks of an active project fall due a month from now, until somebody says otherwise.
UPDATE "tasks" SET "due_at" = CURRENT_TIMESTAMP + INTERVAL '30 days'
FROM "phases" JOIN "projects" ON "projects"."id" = "phases"."project_id"
WHERE "phases"."id" = "tasks"."phase_id" AND "projects"."status" = 'ACTIVE';

-- CreateIndex
CREATE INDEX "tasks_assignee_id_due_at_idx" ON "tasks"("assignee_id", "due_at");
