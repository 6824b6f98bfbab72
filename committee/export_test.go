package committee

import "github.com/prytany/prytany/task"

// Executor is who executes in the present view as far as this node knows, and
// whether that is decided.
func (m *Machine) Executor() (task.NodeID, bool) { return m.executor, m.decided }
