// Loaded before JupyterLab's browser-test.js: Playwright starts the machine's own Chromium and not one of its own.
if ((process.argv[1] || '').endsWith('browser-test.js')) {
  const playwright = require(require.resolve('playwright', { paths: [process.cwd()] }));
  const launch = playwright.chromium.launch.bind(playwright.chromium);
  playwright.chromium.launch = options => launch({ ...options, executablePath: process.env.NBPLATFORM_BROWSER });
}
