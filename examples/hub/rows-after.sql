-- A morning's work with the epic: these rows exist in no snapshot taken before it.
INSERT INTO projects (id, workspace_id, owner_id, title, status, budget_cents)
  SELECT 'p' || g, 'w' || (1 + g % 5), 'u' || (1 + g % 40), 'Project ' || g, 'PLANNED', g * 1000 FROM generate_series(201, 212) g;
UPDATE projects SET last_checked_at = CURRENT_TIMESTAMP WHERE id IN (SELECT 'p' || g FROM generate_series(1, 50) g);
INSERT INTO project_health_checks (id, project_id, score) SELECT 'h' || g, 'p' || (1 + g % 200), g % 100 FROM generate_series(1, 300) g;
INSERT INTO risk_entries (id, project_id, title, severity)
  SELECT 'r' || g, 'p' || (1 + g % 200), 'Risk ' || g, CASE WHEN g % 9 = 0 THEN 'CRITICAL' ELSE 'HIGH' END::"RiskSeverity"
  FROM generate_series(1, 90) g;
INSERT INTO project_reports (id, project_id, type) SELECT 'o' || g, 'p' || g, 'STATUS' FROM generate_series(1, 25) g;
INSERT INTO report_schedules (id, project_id, frequency) SELECT 's' || g, 'p' || g, 'WEEKLY' FROM generate_series(1, 10) g;
INSERT INTO phase_checkpoints (id, phase_id) SELECT 'c' || g, 'f' || g FROM generate_series(1, 120) g;
