// Command control-plane is etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one
// binary. The first argument says which of them to be, the rest are that program's own:
//
//	control-plane kube-apiserver --etcd-servers=...
//
// One binary and not four, because what three of them share is linked once. Measured on two cores with
// everything compiled: 5.4 s to link this one (139 MB); 0.8 + 3.9 + 4.2 + 3.9 = 12.8 s for the four
// (330 MB). Compiling everything first, downloads included, took 6 min 50 s.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/pkg/controller/job"

	// As in the programs' own main packages: time zones for CronJobs, metrics that register themselves.
	_ "time/tzdata"

	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// jobBackOff names the environment variable that shortens how long the Job controller waits before it
// replaces a failed pod: 10 s, doubled with each failure. It has no flag, and without this a test with a
// backoffLimit of 2 takes half a minute.
const jobBackOff = "CONTROL_PLANE_JOB_BACKOFF"

func main() {
	if len(os.Args) < 2 {
		fail("no program named; the first argument is one of etcd, kube-apiserver, kube-controller-manager, kube-scheduler")
	}
	// Each program reads os.Args as if it had been started by its own name.
	os.Args = os.Args[1:]
	switch program := os.Args[0]; program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		shortenJobBackOff(os.Getenv(jobBackOff))
		run(manager.NewControllerManagerCommand())
	case "kube-scheduler":
		run(scheduler.NewSchedulerCommand())
	default:
		fail(fmt.Sprintf("no program %q; there are etcd, kube-apiserver, kube-controller-manager, kube-scheduler", program))
	}
}

func run(command *cobra.Command) {
	os.Exit(cli.Run(command))
}

// shortenJobBackOff takes a Go duration such as "1s"; an empty one changes nothing.
func shortenJobBackOff(value string) {
	if value == "" {
		return
	}
	duration, err := time.ParseDuration(value)
	if err != nil {
		fail(fmt.Sprintf("%s: %v", jobBackOff, err))
	}
	job.DefaultJobPodFailureBackOff = duration
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, "control-plane: "+reason)
	os.Exit(2)
}
