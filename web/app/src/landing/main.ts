import '../ui/styles/base.css';

import { createApp } from 'vue';

import { startI18n } from '../i18n';
import { startTheme } from '../ui/theme';
import LandingPage from './LandingPage.vue';

startTheme();
startI18n();
createApp(LandingPage).mount('#app');
