-- A working database, before the epic.
INSERT INTO users (id, email, name) SELECT 'u' || g, 'user' || g || '@hub.example', 'User ' || g FROM generate_series(1, 40) g;
INSERT INTO workspaces (id, slug, name) SELECT 'w' || g, 'team-' || g, 'Team ' || g FROM generate_series(1, 5) g;
INSERT INTO workspace_members (workspace_id, user_id, role)
  SELECT 'w' || (1 + g % 5), 'u' || g, CASE WHEN g <= 5 THEN 'OWNER' ELSE 'MEMBER' END::"MemberRole" FROM generate_series(1, 40) g;
INSERT INTO projects (id, workspace_id, owner_id, title, status, budget, health, risk)
  SELECT 'p' || g, 'w' || (1 + g % 5), 'u' || (1 + g % 40), 'Project ' || g, 'ACTIVE', g * 1000,
         CASE WHEN g % 4 = 0 THEN 'at risk' ELSE 'on track' END, CASE WHEN g % 4 = 0 THEN 'HIGH' ELSE 'LOW' END::"RiskSeverity"
  FROM generate_series(1, 200) g;
INSERT INTO phases (id, project_id, name, position) SELECT 'f' || g, 'p' || (1 + g % 200), 'Phase ' || g, g % 5 FROM generate_series(1, 600) g;
INSERT INTO tasks (phase_id, assignee_id, title, due_at)
  SELECT 'f' || (1 + g % 600), 'u' || (1 + g % 40), 'Task ' || g, CURRENT_TIMESTAMP FROM generate_series(1, 1500) g;
