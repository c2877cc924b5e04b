// Composecheck reads a Compose file with the library that Docker Compose itself reads it with.
//
//	go run . FILE ENV_FILE
//
// It prints the resolved project as JSON: anchors merged, variables filled in, short forms spelt
// out. The process's own environment is left aside, so that only ENV_FILE decides. It exits with 1
// and a sentence where the format's schema, a reference, or a required variable is not satisfied.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: composecheck FILE ENV_FILE")
		os.Exit(2)
	}
	project, err := check(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(string(project))
}

func check(ctx context.Context, file, environment string) ([]byte, error) {
	// Every profile: a service that is off by default must hold too.
	options, err := cli.NewProjectOptions(
		[]string{file},
		cli.WithEnvFiles(environment),
		cli.WithDotEnv,
		cli.WithDefaultProfiles("*"),
	)
	if err != nil {
		return nil, err
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return nil, err
	}
	return project.MarshalJSON()
}
