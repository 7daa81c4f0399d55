import '../ui/styles/base.css';

import { createApp } from 'vue';

import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import { keyFromHash } from './api';
import ConsolePage from './ConsolePage.vue';

startTheme();
startI18n();
const initialKey = keyFromHash(location.hash);
// A key in the address bar ends up in screenshots and histories.
if (initialKey !== undefined) history.replaceState(null, '', location.pathname);
createApp(ConsolePage, { initialKey }).mount('#app');
