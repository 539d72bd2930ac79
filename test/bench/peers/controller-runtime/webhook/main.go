// The admission half of prefect-lifeguard as it is usually written in Go: controller-runtime's webhook server, typed
// objects, its decoder and its patches. It answers as ours does where all goes well; look-ups are cached, not batched.
//
//	webhook -port 8443 -certificates <folder with tls.crt and tls.key> -prefect http://127.0.0.1:4200/api
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"

	"github.com/go-logr/logr"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	flowRunID       = "prefect.io/flow-run-id"
	parentTaskRunID = "prefect.io/parent-task-run-id"
	finalizerFree   = "prefect.io/finalizer-free"
)

func main() {
	port := flag.Int("port", 0, "")
	certificates := flag.String("certificates", "", "")
	prefect := flag.String("prefect", "", "")
	flag.Parse()
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stdout)))

	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		fail(err)
	}
	parents := &parents{prefect: *prefect}
	decoder := admission.NewDecoder(scheme)
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: *port, CertDir: *certificates})
	server.Register("/mutate", &webhook.Admission{Handler: &mutation{decoder, parents, ctrl.Log.WithName("mutate")}})
	server.Register("/validate", &webhook.Admission{Handler: &validation{decoder, parents}})
	if err := server.Start(ctrl.SetupSignalHandler()); err != nil {
		fail(err)
	}
}

type mutation struct {
	decoder admission.Decoder
	parents *parents
	log     logr.Logger
}

func (m *mutation) Handle(ctx context.Context, request admission.Request) admission.Response {
	object, metas, err := decode(m.decoder, request)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	run := metas[0].Labels[flowRunID]
	if run == "" || metas[0].Labels[parentTaskRunID] != "" {
		return admission.Allowed("")
	}
	parent, err := m.parents.of(ctx, run)
	if err != nil || parent == "" {
		return admission.Allowed("").WithWarnings("no parent yet")
	}
	for _, meta := range metas {
		metav1.SetMetaDataLabel(meta, parentTaskRunID, parent)
		metav1.SetMetaDataAnnotation(meta, finalizerFree, "true")
	}
	marshalled, err := json.Marshal(object)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	m.log.Info("labelled", "uid", request.UID, "kind", request.Kind.Kind, "namespace", request.Namespace, "name", request.Name, "flowRunId", run)
	return admission.PatchResponseFromRaw(request.Object.Raw, marshalled)
}

type validation struct {
	decoder admission.Decoder
	parents *parents
}

func (v *validation) Handle(ctx context.Context, request admission.Request) admission.Response {
	_, metas, err := decode(v.decoder, request)
	if err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	parent, err := v.parents.of(ctx, metas[0].Labels[flowRunID])
	for _, meta := range metas {
		if claim := meta.Labels[parentTaskRunID]; err == nil && claim != "" && claim != parent {
			return admission.Allowed("").WithWarnings(fmt.Sprintf("label %s is %s, but in Prefect it is %q", parentTaskRunID, claim, parent))
		}
	}
	return admission.Allowed("")
}

// The object, and the metadata of it and of its pod template.
func decode(decoder admission.Decoder, request admission.Request) (any, []*metav1.ObjectMeta, error) {
	if request.Kind.Kind == "Job" {
		job := &batchv1.Job{}
		err := decoder.Decode(request, job)
		return job, []*metav1.ObjectMeta{&job.ObjectMeta, &job.Spec.Template.ObjectMeta}, err
	}
	pod := &corev1.Pod{}
	err := decoder.Decode(request, pod)
	return pod, []*metav1.ObjectMeta{&pod.ObjectMeta}, err
}

// Parents of flow runs; what Prefect has said stays.
type parents struct {
	prefect string
	known   sync.Map
}

func (p *parents) of(ctx context.Context, run string) (string, error) {
	if parent, ok := p.known.Load(run); ok {
		return parent.(string), nil
	}
	body, _ := json.Marshal(map[string]any{"flow_runs": map[string]any{"id": map[string]any{"any_": []string{run}}}})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.prefect+"/flow_runs/filter", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("content-type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var runs []struct {
		Parent string `json:"parent_task_run_id"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&runs); err != nil || len(runs) == 0 {
		return "", fmt.Errorf("no flow run %s: %w", run, err)
	}
	p.known.Store(run, runs[0].Parent)
	return runs[0].Parent, nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
