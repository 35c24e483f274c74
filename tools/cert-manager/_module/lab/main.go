// Command lab is cert-manager's controller, webhook and CA injector over upstream's own packages.
//
// Upstream's main packages are modules of their own, which Go's proxy does not serve. Issuers are self-signed and CA:
// no lab reaches an ACME server, Vault or Venafi, whose clients are most of what upstream's controller is made of.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	aggregation "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/api"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

func main() {
	logs.InitLogs()
	ctrl.SetLogger(klog.Background())
	commands := map[string]func(context.Context, []string) error{
		"controller": control, "webhook": serve, "cainjector": inject,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: lab controller|webhook|cainjector")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctrl.SetupSignalHandler(), os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are the flags of the chart that both managers act on; others are upstream's and change nothing here.
type settings struct {
	clusterNamespace string
	leaseNamespace   string
	metrics          string
	health           string
}

func parse(name string, arguments []string) (settings, error) {
	var s settings
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	flags.StringVar(&s.clusterNamespace, "cluster-resource-namespace", "kube-system", "of cluster issuers' secrets")
	flags.StringVar(&s.leaseNamespace, "leader-election-namespace", "kube-system", "of the lease")
	flags.StringVar(&s.metrics, "metrics-listen-address", "0.0.0.0:9402", "of metrics; 0 for none")
	flags.StringVar(&s.health, "healthz-listen-address", "0.0.0.0:9403", "of the liveness probe")
	return s, flags.Parse(arguments)
}

// control issues certificates.
func control(ctx context.Context, arguments []string) error {
	s, err := parse("controller", arguments)
	if err != nil {
		return err
	}
	lead, err := newManager(s, "cert-manager-controller")
	if err != nil {
		return err
	}
	if err := lead.Add(manager.RunnableFunc(s.runControllers)); err != nil {
		return err
	}
	return lead.Start(ctx)
}

func (s settings) runControllers(ctx context.Context) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		// Outside of a cluster, where `ctrl.GetConfig` looks as well.
		Kubeconfig: os.Getenv("KUBECONFIG"),
		// Upstream's defaults.
		KubernetesAPIQPS: 20, KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: s.clusterNamespace},
		CertificateOptions: controller.CertificateOptions{CopiedAnnotationPrefixes: []string{"*"}},
	})
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	ended := make(chan error, len(controller.Known()))
	for name, construct := range controller.Known() {
		one, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// Five workers each, upstream's default.
		go func() { ended <- one.Run(5, ctx) }()
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	shared.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	return <-ended
}

// inject writes CA bundles into webhook configurations, definitions and aggregated APIs.
func inject(ctx context.Context, arguments []string) error {
	s, err := parse("cainjector", arguments)
	if err != nil {
		return err
	}
	lead, err := newManager(s, "cert-manager-cainjector-leader-election")
	if err != nil {
		return err
	}
	every := map[string]bool{
		cainjector.MutatingWebhookConfigurationName: true, cainjector.ValidatingWebhookConfigurationName: true,
		cainjector.APIServiceName: true, cainjector.CustomResourceDefinitionName: true,
	}
	setup := cainjector.SetupOptions{EnableCertificatesDataSource: true, EnabledReconcilersFor: every}
	if err := cainjector.RegisterAllInjectors(ctx, lead, setup); err != nil {
		return err
	}
	return lead.Start(ctx)
}

// newManager gives one that starts nothing before it holds the lease, under upstream's name.
func newManager(s settings, lease string) (manager.Manager, error) {
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, api.AddToScheme, apiextensions.AddToScheme, aggregation.AddToScheme,
	} {
		if err := add(known); err != nil {
			return nil, err
		}
	}
	configuration, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	lead, err := ctrl.NewManager(configuration, ctrl.Options{
		Scheme:                        known,
		Metrics:                       server.Options{BindAddress: s.metrics},
		HealthProbeBindAddress:        s.health,
		LivenessEndpointName:          "/livez",
		LeaderElection:                true,
		LeaderElectionID:              lease,
		LeaderElectionNamespace:       s.leaseNamespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, err
	}
	return lead, lead.AddHealthzCheck("ping", healthz.Ping)
}

// serve is the webhook, with all of upstream's flags.
func serve(ctx context.Context, arguments []string) error {
	configuration, err := options.NewWebhookConfiguration()
	if err != nil {
		return err
	}
	flags := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	options.NewWebhookFlags().AddFlags(flags)
	options.AddConfigFlags(flags, configuration)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if err := logs.ValidateAndApply(&configuration.Logging); err != nil {
		return err
	}
	running, err := webhook.NewCertManagerWebhookServer(logs.Log, *configuration)
	if err != nil {
		return err
	}
	return running.Run(ctx)
}
