-- Rows from before the epic, and rows written after it was deployed.
INSERT INTO users (id, email, name) SELECT 'u' || g, 'user' || g || '@hub.example', 'User ' || g FROM generate_series(1, 40) g;
INSERT INTO projects (id, owner_id, title, status, budget_cents)
  SELECT 'p' || g, 'u' || (1 + g % 40), 'Project ' || g, 'ACTIVE', g * 1000 FROM generate_series(1, 200) g;
INSERT INTO phases (id, project_id, name, position) SELECT 'f' || g, 'p' || (1 + g % 200), 'Phase ' || g, g % 5 FROM generate_series(1, 600) g;
INSERT INTO project_health_checks (id, project_id, score) SELECT 'h' || g, 'p' || (1 + g % 200), g % 100 FROM generate_series(1, 300) g;
INSERT INTO risk_entries (id, project_id, title, severity) SELECT 'r' || g, 'p' || (1 + g % 200), 'Risk ' || g, 'HIGH' FROM generate_series(1, 90) g;
INSERT INTO phase_checkpoints (id, phase_id) SELECT 'c' || g, 'f' || g FROM generate_series(1, 120) g;
