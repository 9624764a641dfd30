// The container by which JupyterLab loads a federated extension, in the form that webpack's module federation
// gives it (https://webpack.js.org/concepts/module-federation), written by hand so that nothing has to be built.
// It registers a renderer for the outputs of `wb.live` and `wb.watch`; what they show is drawn by panel.js,
// which the server extension serves, so that no kernel is needed.
(() => {
  const MIME = "application/vnd.workbench.panel+json";
  let shared; // JupyterLab's own modules, by name and version

  const load = async (name) => (await Object.values(shared[name])[0].get())();

  // Talk to workbench/dashboards/server.py with JupyterLab's own address, token and cookies.
  const makeTransport = (ServerConnection) => {
    const settings = ServerConnection.makeSettings();
    const ask = async (path, query, body) => {
      const url = `${settings.baseUrl}workbench/${path}?${new URLSearchParams(query)}`;
      const init = body ? { method: "POST", body: JSON.stringify(body) } : {};
      const response = await ServerConnection.makeRequest(url, init, settings);
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) throw new Error(answer.message || `${response.status} ${response.statusText}`);
      return answer;
    };
    return {
      events: (run, offset) => ask("events", { run, offset }),
      control: (run, action, value) => ask("control", { run }, { action, value }),
      pipeline: (path) => ask("pipeline", { path }),
      scripts: `${settings.baseUrl}workbench/static/`,
    };
  };

  const makeExtension = async () => {
    const { Widget } = await load("@lumino/widgets");
    const { ServerConnection } = await load("@jupyterlab/services");
    const transport = makeTransport(ServerConnection);
    const look = Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${transport.scripts}panel.css` });
    document.head.append(look);

    class PanelRenderer extends Widget {
      async renderModel(model) {
        const spec = model.data[MIME];
        const subject = JSON.stringify([spec.runs, spec.pipeline]);
        if (subject === this.subject) return; // the same panel, which follows the log by itself
        this.subject = subject;
        this.panel?.dispose();
        try {
          const [script, mount] = spec.pipeline ? ["pipeline.js", "mountPipeline"] : ["panel.js", "mountRuns"];
          const loaded = await import(transport.scripts + script);
          if (this.isDisposed || subject !== this.subject) return; // gone or changed meanwhile
          this.panel = loaded[mount](this.node, spec, transport);
        } catch (error) {
          this.node.textContent = `${model.data["text/plain"] ?? ""}\nThe panel cannot be shown: ${error.message}`;
        }
      }

      dispose() {
        this.panel?.dispose();
        super.dispose();
      }
    }

    return {
      id: "workbench-panel:renderer",
      rank: -5, // before plotly's figure, which is for other front ends
      dataType: "json",
      rendererFactory: {
        safe: true, // data are drawn as text; scripts come from the server alone
        mimeTypes: [MIME],
        createRenderer: () => new PanelRenderer(),
      },
    };
  };

  (window._JUPYTERLAB ??= {})["workbench-panel"] = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const extension = await makeExtension();
      return () => ({ __esModule: true, default: extension });
    },
  };
})();
