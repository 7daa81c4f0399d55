// A look at the pages without a server: `npm run dev`, then /src/preview/index.html?role=teacher&students=8. Not in the
// production build.
import '../ui/styles/base.css';

import { createApp } from 'vue';

import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import Preview from './Preview.vue';

startTheme();
startI18n();
createApp(Preview, { query: new URLSearchParams(location.search) }).mount('#app');
