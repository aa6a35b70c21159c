// The driver of Grafana's ClickHouse plugin, as the plugin opens it for HTTP. It reads queries, one JSON string a line,
// and answers each with a line: {"columns": […], "rows": n} or {"error": "…"}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

type answer struct {
	Columns []string `json:"columns,omitempty"`
	Rows    int      `json:"rows"`
	Error   string   `json:"error,omitempty"`
}

func main() {
	database := clickhouse.OpenDB(&clickhouse.Options{
		Addr:        []string{os.Args[1]},
		Auth:        clickhouse.Auth{Database: os.Args[2], Username: "grafana"},
		Protocol:    clickhouse.HTTP,
		Compression: &clickhouse.Compression{Method: clickhouse.CompressionGZIP},
		Settings:    clickhouse.Settings{"max_execution_time": 60},
		DialTimeout: 10 * time.Second,
		ReadTimeout: 60 * time.Second,
	})
	defer database.Close()
	ask := func(query string) answer {
		rows, err := database.Query(query)
		if err != nil {
			return answer{Error: err.Error()}
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return answer{Error: err.Error()}
		}
		count := 0
		for rows.Next() {
			values := make([]any, len(columns))
			targets := make([]any, len(columns))
			for i := range values {
				targets[i] = &values[i]
			}
			if err := rows.Scan(targets...); err != nil {
				return answer{Error: err.Error()}
			}
			count++
		}
		if err := rows.Err(); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Columns: columns, Rows: count}
	}

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	encoder := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var query string
		if err := json.Unmarshal(lines.Bytes(), &query); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := encoder.Encode(ask(query)); err != nil {
			os.Exit(1)
		}
	}
}
