// Says in JupyterLab, and in Notebook 7, when this server will be stopped, why, and offers to keep it running.
//
// What stands is asked of the server (GET api/nbplatform/notice) at the start, whenever the server says by an event that
// it has changed, when the page comes into view, and once a minute while a notice stands.  Nothing of that counts as the
// user's activity.  Nothing is built: this file is a federated container (init, get) written by hand, and all it uses is
// what JupyterLab shares.  Words of the server are only ever set as text.
(() => {
  'use strict';

  const NAME = 'nbplatform-idle';
  const EVENT = 'https://events.nbplatform.invalid/nbplatform/notice/v1'; // says: ask again
  const API = 'api/nbplatform/';
  const LAST_SECONDS = 600; // the user is told once more when this much is left
  const SAME_SECONDS = 90; // a stop that moves by less is the same stop: each look of the culler is a little off
  const READ_SECONDS = 60;
  const TICK_SECONDS = 5;
  const TOAST_LETTERS = 140; // JupyterLab shows no more of a notification
  const MESSAGE_LETTERS = 300; // of what a server answers to a request that it refuses

  let scope;

  /** Return a module that JupyterLab shares; undefined where it does not, as Notebook and its status bar. */
  async function shared(name) {
    const version = Object.values(scope[name] ?? {})[0];
    return version && (await version.get())();
  }

  // Words

  /** A span of time, such as "1 h 20 min"; exact to a minute, above two days to an hour. */
  function span(seconds) {
    const minutes = Math.round(seconds / 60);
    if (minutes < 1) return 'less than 1 min';
    const parts = minutes < 2 * 24 * 60
      ? [[Math.floor(minutes / 60), 'h'], [minutes % 60, 'min']]
      : [[Math.floor(minutes / 1440), 'days'], [Math.floor((minutes % 1440) / 60), 'h']];
    return parts.filter(([count]) => count).map(part => part.join(' ')).join(' ');
  }

  /** A time of the user's own clock, such as "18:30" or, on another day, "Tue 24 Nov, 08:12". */
  function clock(milliseconds) {
    const at = new Date(milliseconds);
    const time = at.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });
    if (at.toDateString() === new Date().toDateString()) return time;
    return `${at.toLocaleDateString('en-GB', { weekday: 'short', day: 'numeric', month: 'short' })}, ${time}`;
  }

  const secondsLeft = notice => (notice.deadline - Date.now()) / 1000;

  /** The status bar's words. */
  function brief(notice) {
    const left = secondsLeft(notice);
    return left > 0 ? `Stops in ${span(left)}` : 'Stops now';
  }

  /** When the server stops, as a sentence that stays true; of a notice without a stop, that there is one. */
  function when(notice) {
    if (notice.deadline === null) return 'A notice about this server:';
    if (secondsLeft(notice) <= 0) return 'This server is about to be stopped.';
    return `This server will be stopped at ${clock(notice.deadline)}.`;
  }

  const canKeep = notice => notice !== null && notice.extend > 0 && !notice.extended;

  /** All there is to say, a paragraph each. */
  function paragraphs(notice) {
    const said = [when(notice), notice.why];
    if (notice.deadline === null) return said;
    if (notice.idle) said.push('It is not stopped if you go on working in it.');
    if (canKeep(notice)) said.push(`“Keep it running” puts the stop off by ${span(notice.extend)}, once.`);
    if (notice.extended) said.push('It was put off already, which is possible once.');
    said.push('Your files stay. What runs in it ends, and what is not saved is lost.');
    return said;
  }

  // The server's answers

  /** Check what the server says; `deadline` is the stop by the user's own clock, null where no stop is planned. */
  function parsed(answer) {
    const found = answer?.notice;
    if (!found || typeof found !== 'object') return null;
    const left = found.seconds_left;
    return {
      deadline: Number.isFinite(left) ? Date.now() + left * 1000 : null,
      reason: String(found.reason ?? ''),
      why: String(found.why ?? ''),
      extend: Number.isFinite(found.extend) ? found.extend : 0,
      extended: found.extended === true,
      idle: found.idle === true,
    };
  }

  /** Whether two notices say the same, so that nobody needs to be told again. */
  function same(one, other) {
    if (one === null || other === null) return one === other;
    if (one.reason !== other.reason || one.extended !== other.extended || canKeep(one) !== canKeep(other)) return false;
    if (one.deadline === null || other.deadline === null) return one.deadline === other.deadline;
    return Math.abs(one.deadline - other.deadline) < SAME_SECONDS * 1000;
  }

  /** Ask this server; `undefined` in the place of JSON that is none. */
  async function ask(services, settings, path, options) {
    const answer = await services.ServerConnection.makeRequest(settings.baseUrl + API + path, options, settings);
    const text = await answer.text();
    try {
      return { status: answer.status, body: JSON.parse(text) };
    } catch {
      return { status: answer.status, body: undefined };
    }
  }

  /** Why a request to keep the server running failed, in words. */
  function refusal(answer) {
    if (answer === null) return 'the server cannot be reached.';
    const message = answer.body?.message;
    if (answer.status === 409 && typeof message === 'string') return message.slice(0, MESSAGE_LETTERS);
    return `the server answered ${answer.status}.`;
  }

  // What is seen

  /** The item of the status bar: hidden while there is nothing to count down. */
  function makeItem(lumino, signaling, onClick) {
    const button = document.createElement('button');
    button.type = 'button';
    button.addEventListener('click', onClick);
    Object.assign(button.style, {
      appearance: 'none', border: '0', borderRadius: '2px', padding: '0 6px', font: 'inherit', fontWeight: '600',
      height: '100%', cursor: 'pointer',
    });
    // For those who hear the page: told when the words begin, change or grow urgent, not each minute.
    const heard = document.createElement('span');
    heard.setAttribute('role', 'status');
    Object.assign(heard.style, {
      position: 'absolute', width: '1px', height: '1px', overflow: 'hidden', clipPath: 'inset(50%)',
      whiteSpace: 'nowrap',
    });
    const item = new lumino.Widget();
    item.addClass(NAME);
    item.node.append(button, heard);
    const changed = new signaling.Signal(item);
    let active = false;

    function show(notice) {
      const counts = notice !== null && notice.deadline !== null;
      if (counts) {
        const text = brief(notice);
        if (button.textContent !== text) button.textContent = text;
        item.title.caption = button.title = paragraphs(notice).slice(0, 2).join(' ');
        const urgent = secondsLeft(notice) <= LAST_SECONDS;
        // A pair that each theme has to keep readable, and the same the other way round.
        button.style.background = urgent ? 'var(--jp-ui-font-color1)' : 'transparent';
        button.style.color = urgent ? 'var(--jp-layout-color1)' : 'var(--jp-ui-font-color1)';
      }
      if (counts === active) return;
      active = counts;
      changed.emit();
    }

    const say = notice => { heard.textContent = notice !== null && notice.deadline !== null ? brief(notice) : ''; };
    return { item, show, say, isActive: () => active, changed };
  }

  /** Open a dialogue with all there is to say; whether the user chose to keep the server running. */
  async function explain(apputils, lumino, notice) {
    const body = new lumino.Widget();
    for (const words of paragraphs(notice)) {
      const paragraph = document.createElement('p');
      paragraph.textContent = words;
      paragraph.style.margin = '0 0 8px';
      body.node.append(paragraph);
    }
    const buttons = [apputils.Dialog.cancelButton({ label: 'Close' })];
    if (canKeep(notice)) buttons.push(apputils.Dialog.okButton({ label: 'Keep it running' }));
    const title = notice.deadline === null ? 'A notice' : brief(notice);
    const chosen = await apputils.showDialog({ title, body, buttons });
    return chosen.button.accept;
  }

  // What happens

  async function activate(app, bar) {
    const [services, apputils, lumino, signaling] = await Promise.all(
      ['@jupyterlab/services', '@jupyterlab/apputils', '@lumino/widgets', '@lumino/signaling'].map(shared));
    const settings = app.serviceManager.serverSettings;
    const { Notification } = apputils;

    let notice = null; // what stands
    let told = null; // what the user was told last
    let toldLast = false; // whether that was in the last minutes
    let toasts = []; // notifications that go when the notice goes
    let complaint = null; // one that stays: why the server could not be kept running
    let reading = false; // whether the server is being asked what stands
    let readAgain = false;
    let asking = false; // whether it is being asked to run on
    let asked = 0; // how often it was: what it answered before is out of date
    let readAt = 0;
    let timer = null;

    const item = makeItem(lumino, signaling, () => { void details(); });
    bar?.registerStatusItem(NAME, {
      item: item.item, align: 'right', rank: 1, isActive: item.isActive, activeStateChanged: item.changed,
    });

    function dismiss() {
      toasts.splice(0).forEach(id => Notification.dismiss(id));
    }

    function actions(words) {
      const found = [];
      if (words.length > TOAST_LETTERS) found.push({ label: 'More', callback: () => { void details(); } });
      if (canKeep(notice)) {
        found.push({ label: 'Keep it running', displayType: 'accent', callback: () => { void keep(); } });
      }
      return found;
    }

    function tell() {
      dismiss();
      if (complaint !== null) Notification.dismiss(complaint);
      told = notice;
      toldLast = notice.deadline !== null && secondsLeft(notice) <= LAST_SECONDS;
      const words = `${when(notice)}\n${notice.why}`;
      toasts.push(Notification.warning(words, { autoClose: false, actions: actions(words) }));
      item.say(notice);
    }

    /** Take what the server says; tell the user what is new. */
    function take(found) {
      notice = found;
      if (notice === null) {
        dismiss();
        told = null;
        item.say(null);
      } else if (!same(notice, told)) {
        tell();
      }
      tick();
      clearInterval(timer);
      if (notice !== null) timer = setInterval(tick, TICK_SECONDS * 1000);
    }

    /** Called every few seconds while a notice stands, and at each change. */
    function tick() {
      item.show(notice);
      if (notice === null) return;
      if (!toldLast && notice.deadline !== null && secondsLeft(notice) <= LAST_SECONDS) tell();
      if (Date.now() - readAt >= READ_SECONDS * 1000) void read();
    }

    /** Ask what stands.  One request at a time; what comes meanwhile leads to one more. */
    async function read() {
      readAgain = true;
      if (reading || asking) return;
      reading = true;
      try {
        while (readAgain && !asking) {
          readAgain = false;
          readAt = Date.now();
          const before = asked;
          const answer = await ask(services, settings, 'notice?no_track_activity=1', {}).catch(() => null);
          // Without an answer what stood stands on: JupyterLab itself says when the server is gone.
          if (answer !== null && answer.status === 200 && asked === before) take(parsed(answer.body));
        }
      } finally {
        reading = false;
      }
    }

    /** Ask the server to run on, and say what came of it. */
    async function keep() {
      if (asking) return;
      asking = true;
      asked += 1;
      dismiss();
      const answer = await ask(services, settings, 'extend', { method: 'POST', body: '{}' }).catch(() => null);
      asking = false;
      const kept = answer !== null && answer.status === 200 ? parsed(answer.body) : null;
      if (complaint !== null) Notification.dismiss(complaint);
      if (kept !== null) {
        told = kept; // this is how they are told
        toldLast = false;
        take(kept);
        const until = kept.deadline === null ? '' : ` until ${clock(kept.deadline)}`;
        toasts.push(Notification.success(`This server is kept running${until}.`, { autoClose: 30000 }));
        item.say(kept);
      } else if (answer !== null && answer.status === 200) {
        take(null); // it does not stop any more: somebody works in it
        toasts.push(Notification.success('This server is not going to be stopped now.', { autoClose: 30000 }));
      } else {
        const words = `The stop was not put off: ${refusal(answer)}`;
        complaint = Notification.error(words, { autoClose: false, actions: answer?.status === 409 ? [] : actions('') });
        told = notice; // the complaint stays in view, whatever else the server has to say about the same stop
      }
      void read();
    }

    async function details() {
      if (notice !== null && await explain(apputils, lumino, notice)) await keep();
    }

    app.serviceManager.events?.stream.connect((_, event) => {
      if (event.schema_id === EVENT) void read();
    });
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') void read();
    });
    await read();
  }

  const container = {
    init: given => { scope = given; },
    get: async module => {
      if (module !== './extension') throw new Error(`${NAME} has no module ${module}`);
      const bar = await shared('@jupyterlab/statusbar');
      const plugin = {
        id: `${NAME}:plugin`,
        description: 'Says when this server will be stopped, and keeps it running where that may be asked for.',
        autoStart: true,
        optional: bar ? [bar.IStatusBar] : [],
        // Not awaited: nothing of the page waits for this server's answers.
        activate: (app, statusBar) => {
          activate(app, statusBar ?? null).catch(problem => console.error(`${NAME}: ${problem}`));
        },
      };
      return () => ({ __esModule: true, default: plugin });
    },
  };
  (window._JUPYTERLAB ??= {})[NAME] = container;
})();
